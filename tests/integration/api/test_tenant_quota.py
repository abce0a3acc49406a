"""What a tenant may store in all, on the real server: no more, with any number of writers, and it harms nobody else."""

import asyncio

from tests.integration.api.servers import User
from tests.integration.api.test_pods import pod
from tests.integration.api.test_tenant_states import CONFIG_MAPS, MERGE, PODS, TENANTS, set_spec, until

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

        async def is_told() -> bool:
            status = (await admin("GET", f"{TENANTS}/acme")).json["status"]
            return status.get("pods") == 1 and status["namespaces"] == 4 and status["storedBytes"] > 500_000

        await until(is_told)
        table = (await admin("GET", TENANTS, headers=_TABLE)).json
        shown = dict(zip([each["name"] for each in table["columnDefinitions"]], table["rows"][0]["cells"], strict=True))
        assert (shown["Name"], shown["Phase"], shown["Pods"], shown["Stored"]) == ("acme", "Active", 1, "0.5Mi")


async def test_a_quota_of_what_cannot_be_bounded_is_refused(admin: User) -> None:
    body = {"metadata": {"name": "acme"}, "spec": {"quota": {"widgets": "1"}}}
    assert (await admin("POST", TENANTS, body)).status == 422
