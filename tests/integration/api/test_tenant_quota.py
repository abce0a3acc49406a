"""What a tenant may store in all, on the real server: no more, with any number of writers, and it harms nobody else."""

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api.servers import User, serving
from tests.integration.api.test_pods import pod
from tests.integration.api.test_tenant_states import CONFIG_MAPS, MERGE, PODS, TENANTS, set_spec, until
from tests.integration.storage.etcd_process import EtcdProcess

_TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


def config_map(number: int, size: int) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"m{number}"}, "data": {"k": "x" * size}}


async def test_writers_side_by_side_end_at_the_quota_and_another_tenant_does_not_notice(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        await set_spec(admin, "acme", quota={"storedBytes": "200Ki"})
        answers = await asyncio.gather(*(acme("POST", CONFIG_MAPS, config_map(n, 10_000)) for n in range(40)))
        made = [each for each in answers if each.status == 201]
        refused = [each for each in answers if each.status == 403]
        assert len(made) + len(refused) == 40
        assert 10 <= len(made) <= 20
        assert "exceeded quota of the tenant" in refused[0].json["message"]
        assert "limited: storedBytes=200Ki" in refused[0].json["message"]
        grown = await acme("PATCH", f"{CONFIG_MAPS}/{made[0].name}", {"data": {"l": "x" * 20_000}}, headers=MERGE)
        assert grown.status == 403
        assert (await globex("POST", CONFIG_MAPS, config_map(0, 100_000))).status == 201
        shrunk = await acme("PATCH", f"{CONFIG_MAPS}/{made[0].name}", {"data": {"k": "x"}}, headers=MERGE)
        assert shrunk.status == 200
        assert (await acme("DELETE", f"{CONFIG_MAPS}/{made[1].name}")).status == 200
        assert (await acme("POST", CONFIG_MAPS, config_map(99, 10_000))).status == 201
        await set_spec(admin, "acme", quota={"storedBytes": "1Mi"})
        assert (await acme("POST", CONFIG_MAPS, config_map(100, 100_000))).status == 201


async def test_the_number_of_pods_of_a_tenant_is_bounded_over_its_namespaces(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        await set_spec(admin, "acme", quota={"pods": "1"})
        assert (await acme("POST", PODS, pod("a"))).status == 201
        assert (await acme("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})).status == 201
        account = {"metadata": {"name": "default"}}
        assert (await acme("POST", "/api/v1/namespaces/other/serviceaccounts", account)).status == 201
        refused = await acme("POST", "/api/v1/namespaces/other/pods", pod("b"))
        assert (refused.status, "pods=1" in refused.json["message"]) == (403, True)
        assert (await acme("DELETE", f"{PODS}/a")).status == 200
        assert (await acme("POST", "/api/v1/namespaces/other/pods", pod("b"))).status == 201


async def test_status_says_what_a_tenant_has_and_kubectl_gets_it_as_columns(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        await acme("POST", PODS, pod("a"))
        await acme("POST", CONFIG_MAPS, config_map(0, 500_000))
        network = {"metadata": {"name": "second"}, "spec": {"subnets": {"a": {"cidr": "10.9.0.0/24"}}}}
        assert (await acme("POST", "/apis/hypernetes.io/v1/networks", network)).status == 201
        told = {"pods": 1, "namespaces": 4, "networks": 2}

        async def is_told() -> bool:
            status = (await admin("GET", f"{TENANTS}/acme")).json["status"]
            return told.items() <= status.items() and status["storedBytes"] > 500_000

        await until(is_told)
        table = (await admin("GET", TENANTS, headers=_TABLE)).json
        shown = dict(zip([each["name"] for each in table["columnDefinitions"]], table["rows"][0]["cells"], strict=True))
        assert (shown["Name"], shown["Phase"], shown["Pods"], shown["Stored"]) == ("acme", "Active", 1, "0.5Mi")


def running_pod(name: str, **requests: str) -> dict[str, object]:
    made = pod(name)
    made["spec"]["containers"][0]["resources"] = {"requests": requests}  # type: ignore[index]
    return made


async def test_processors_are_bounded_over_all_namespaces_by_what_pods_ask_for_until_they_end(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        assert (await acme("POST", PODS, running_pod("before", cpu="500m"))).status == 201
        await set_spec(admin, "acme", quota={"requests.cpu": "2", "count/networks.hypernetes.io": "2"})
        assert (await acme("POST", PODS, running_pod("a", cpu="1"))).status == 201
        refused = await acme("POST", PODS, running_pod("b", cpu="1"))
        assert refused.status == 403
        assert refused.json["message"].endswith(
            "exceeded quota of the tenant, requested: requests.cpu=1, used: requests.cpu=1500m, limited: requests.cpu=2"
        )
        assert "must specify requests.cpu" in (await acme("POST", PODS, running_pod("c"))).json["message"]
        await set_spec(admin, "acme", podDefaults={"cpu": "100m"})
        assert (await acme("POST", PODS, running_pod("c"))).status == 201
        larger = {"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "2"}}}]}}
        strategic = {"Content-Type": "application/strategic-merge-patch+json"}
        assert (await acme("PATCH", f"{PODS}/a/resize", larger, headers=strategic)).status == 403
        ended = {"status": {"phase": "Succeeded"}}
        assert (await admin("PATCH", f"/tenants/acme{PODS}/a/status", ended, headers=MERGE)).status == 200
        assert (await acme("POST", PODS, running_pod("b", cpu="1"))).status == 201
        network = {"metadata": {"name": "n"}, "spec": {"subnets": {"default": {"cidr": "10.1.0.0/24"}}}}
        networks = "/apis/hypernetes.io/v1/networks"
        assert (await acme("POST", networks, network)).status == 201
        assert (await acme("POST", networks, {**network, "metadata": {"name": "o"}})).status == 403

        async def is_told() -> bool:
            quota = (await admin("GET", f"{TENANTS}/acme")).json["status"].get("quota") or {}
            return dict(quota.get("used") or {}) == {"requests.cpu": "1600m", "count/networks.hypernetes.io": "2"}

        await until(is_told)


async def test_two_servers_and_many_writers_never_pass_the_quota_of_a_tenant(etcd: EtcdProcess, tmp_path: Path) -> None:
    cluster_id = f"t{secrets.token_hex(3)}"
    stores = [await open_store(etcd.location) for _ in range(2)]
    try:
        async with (
            serving(stores[0], tmp_path, cluster_id) as first, serving(stores[1], tmp_path, cluster_id) as second,
            await first.tenant("acme") as acme,
        ):  # fmt: skip
            await set_spec(first, "acme", quota={"pods": "12", "configmaps": "10"})
            assert (await second("GET", f"{TENANTS}/acme")).json["spec"]["quota"]  # from now on it knows the quota, too
            for namespace in ("one", "two"):
                await acme("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})

            async def write(number: int) -> int:
                server, namespace = (first, second)[number % 2], ("one", "two")[number // 2 % 2]
                maps = f"/tenants/acme/api/v1/namespaces/{namespace}/configmaps"
                while (answer := await server("POST", maps, config_map(number, 10))).status == 409:
                    pass  # the other server was faster each time
                if answer.status == 201 and number % 5 == 0:
                    await server("DELETE", f"{maps}/{answer.name}")
                return answer.status

            answers = await asyncio.gather(*map(write, range(60)))
            assert set(answers) == {201, 403}
            everything = (await second("GET", "/tenants/acme/api/v1/configmaps")).json["items"]
            there = [each for each in everything if each["metadata"]["name"].startswith("m")]  # what is stored counts
            assert len(there) <= 10
            maps = "/tenants/acme/api/v1/namespaces/one/configmaps"
            answers = [(await first("POST", maps, config_map(100 + n, 10))).status for n in range(11 - len(there))]
            assert answers == [201] * (10 - len(there)) + [403]
    finally:
        for store in stores:
            await store.close()


def claim(number: int) -> dict[str, object]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"metadata": {"name": f"m{number}"}, "spec": spec}


def balanced(number: int) -> dict[str, object]:
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}], "allocateLoadBalancerNodePorts": False}
    return {"metadata": {"name": f"m{number}"}, "spec": spec}


def network(number: int) -> dict[str, object]:
    return {"metadata": {"name": f"m{number}"}, "spec": {"subnets": {"default": {"cidr": "10.1.0.0/24"}}}}


@pytest.mark.parametrize(
    ("bound", "path", "made"),
    [
        ({"pods": "5"}, "/api/v1/namespaces/{}/pods", lambda n: pod(f"m{n}")),
        ({"requests.cpu": "5"}, "/api/v1/namespaces/{}/pods", lambda n: running_pod(f"m{n}", cpu="1")),
        ({"storage": "5Gi"}, "/api/v1/namespaces/{}/persistentvolumeclaims", claim),
        ({"volumes": "5"}, "/api/v1/namespaces/{}/persistentvolumeclaims", claim),
        ({"loadBalancers": "5"}, "/api/v1/namespaces/{}/services", balanced),
        ({"floatingIPs": "5"}, "/api/v1/namespaces/{}/services", balanced),
        ({"count/networks.hypernetes.io": "6"}, "/apis/hypernetes.io/v1/networks", network),  # one is there already
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_two_servers_never_pass_a_bound_whatever_it_counts(
    etcd: EtcdProcess, tmp_path: Path, bound: dict[str, str], path: str, made: Callable[[int], dict[str, object]]
) -> None:
    cluster_id = f"t{secrets.token_hex(3)}"
    stores = [await open_store(etcd.location) for _ in range(2)]
    try:
        async with (
            serving(stores[0], tmp_path, cluster_id) as first, serving(stores[1], tmp_path, cluster_id) as second,
            await first.tenant("acme") as acme,
        ):  # fmt: skip
            account = {"metadata": {"name": "default"}}
            for namespace in ("one", "two"):
                await acme("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
                await acme("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
            await set_spec(first, "acme", quota=bound)
            assert (await second("GET", f"{TENANTS}/acme")).json["spec"]["quota"]  # from now on it knows the quota, too

            async def write(number: int) -> int:
                server, where = (first, second)[number % 2], path.format(("one", "two")[number // 2 % 2])
                while (answer := await server("POST", f"/tenants/acme{where}", made(number))).status == 409:
                    pass  # the other server was faster each time
                return answer.status

            answers = await asyncio.gather(*map(write, range(16)))
            assert sorted(answers) == [201] * 5 + [403] * 11
            others = f"/tenants/acme{path.replace('/namespaces/{}', '')}"
            everything = (await second("GET", others)).json["items"]
            assert len([each for each in everything if each["metadata"]["name"].startswith("m")]) == 5
    finally:
        for store in stores:
            await store.close()


async def test_a_quota_of_what_cannot_be_bounded_is_refused(admin: User) -> None:
    body = {"metadata": {"name": "acme"}, "spec": {"quota": {"widgets": "1"}}}
    assert (await admin("POST", TENANTS, body)).status == 422
