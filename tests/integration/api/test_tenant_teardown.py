"""The end of a tenant: what it waits for, how it says so, and what it doesn't wait for."""

import asyncio
from typing import Any

from tests.integration.api.servers import User
from tests.integration.api.test_pods import pod
from tests.integration.api.test_tenant_states import CONFIG_MAPS, MERGE, PODS, TENANTS, condition, until

FINALIZER = "example.com/backup"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


async def message(admin: User, type: str) -> str:
    conditions = (await admin("GET", f"{TENANTS}/acme")).json["status"]["conditions"]
    return next(each["message"] for each in conditions if each["type"] == type)


async def is_gone(admin: User) -> bool:
    return (await admin("GET", f"{TENANTS}/acme")).status == 404


async def reason(admin: User, wanted: str) -> bool:
    found = await condition(admin, "acme", "ContentRemaining")
    return found == ("True", wanted)


async def waits(admin: User, wanted: str) -> None:
    async def so() -> bool:
        return await reason(admin, wanted)

    await until(so)


async def test_pods_stop_first_then_networks_end_then_all_else_and_each_step_is_told(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        network = "/tenants/acme/apis/hypernetes.io/v1/networks/default"
        held: dict[str, Any] = {"metadata": {"finalizers": ["hypernetes.io/network"]}}
        assert (await admin("PATCH", network, held, headers=MERGE)).status == 200
        kept = {"metadata": {"name": "kept", "finalizers": [FINALIZER]}}
        assert (await acme("POST", CONFIG_MAPS, kept)).status == 201
        assert (await acme("POST", PODS, pod("p", nodeName="n1"))).status == 201
        assert (await acme("POST", PODS, pod("waits"))).status == 201
        budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": "100%", "selector": {}}}
        assert (await acme("POST", BUDGETS, budget)).status == 201

        assert (await admin("DELETE", f"{TENANTS}/acme")).status == 200
        await waits(admin, "PodsStopping")
        assert "1 pods" in await message(admin, "ContentRemaining")
        assert f"{FINALIZER} in 1 objects" in await message(admin, "FinalizersRemaining")
        assert "deletionTimestamp" not in (await admin("GET", network)).json["metadata"]
        assert (await admin("GET", f"/tenants/acme{PODS}/waits")).status == 404
        gone = await admin("DELETE", f"/tenants/acme{PODS}/p", {"gracePeriodSeconds": 0})  # its agent has stopped it
        assert gone.status == 200

        await waits(admin, "NetworksEnding")
        assert (await acme("GET", f"{CONFIG_MAPS}/kept")).status == 200
        assert (await admin("PATCH", network, {"metadata": {"finalizers": None}}, headers=MERGE)).status == 200

        await waits(admin, "ObjectsEnding")
        assert (await acme("GET", "/api/v1/namespaces/default")).status == 200
        left = (await acme("GET", CONFIG_MAPS)).json["items"]
        assert [each["metadata"]["name"] for each in left] == ["kept", "kube-root-ca.crt"]  # of what stays longer
        assert "left: 1 configmaps" in await message(admin, "ContentRemaining")
        assert await condition(admin, "acme", "FinalizersRemaining") == ("True", "SomeFinalizersRemain")
        released = {"metadata": {"finalizers": None}}
        assert (await admin("PATCH", f"/tenants/acme{CONFIG_MAPS}/kept", released, headers=MERGE)).status == 200
        await until(lambda: is_gone(admin))
    await nothing_is_left(admin)


async def test_after_the_grace_neither_pods_nor_finalizers_of_the_tenant_hold_it(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        for path, obj in (
            (CONFIG_MAPS, {"metadata": {"name": "kept", "finalizers": [FINALIZER]}}),
            ("/api/v1/namespaces", {"metadata": {"name": "kept", "finalizers": [FINALIZER]}}),
            ("/apis/hypernetes.io/v1/networks", {
                "metadata": {"name": "kept", "finalizers": [FINALIZER]},
                "spec": {"subnets": {"a": {"cidr": "10.9.0.0/24"}}},
            }),
            (PODS, pod("p", nodeName="dead")),
        ):  # fmt: skip
            assert (await acme("POST", path, obj)).status == 201
        await admin("DELETE", f"{TENANTS}/acme")
        await waits(admin, "PodsStopping")
        await asyncio.sleep(1.2)
        assert await reason(admin, "PodsStopping")
        short = {"spec": {"deletionGracePeriodSeconds": 1}}
        assert (await admin("PATCH", f"{TENANTS}/acme", short, headers=MERGE)).status == 200
        await until(lambda: is_gone(admin))
    await nothing_is_left(admin)


async def test_the_provider_s_finalizer_of_a_network_is_waited_for_after_the_grace(admin: User) -> None:
    path = "/tenants/acme/apis/hypernetes.io/v1/networks/default"
    async with await admin.tenant("acme"):
        both = {"metadata": {"finalizers": ["hypernetes.io/network", FINALIZER]}}
        assert (await admin("PATCH", path, both, headers=MERGE)).status == 200
        at_once = {"spec": {"deletionGracePeriodSeconds": 0}}
        assert (await admin("PATCH", f"{TENANTS}/acme", at_once, headers=MERGE)).status == 200
        await admin("DELETE", f"{TENANTS}/acme")

        async def tenant_s_is_gone() -> bool:
            return bool((await admin("GET", path)).json["metadata"]["finalizers"] == ["hypernetes.io/network"])

        await until(tenant_s_is_gone)
        await waits(admin, "NetworksEnding")
        assert (await admin("PATCH", path, {"metadata": {"finalizers": None}}, headers=MERGE)).status == 200
        await until(lambda: is_gone(admin))


async def test_a_grace_is_no_negative_number(admin: User) -> None:
    body = {"metadata": {"name": "acme"}, "spec": {"deletionGracePeriodSeconds": -1}}
    assert (await admin("POST", TENANTS, body)).status == 422


async def nothing_is_left(admin: User) -> None:
    for path in ("/api/v1/configmaps", "/api/v1/namespaces", "/api/v1/pods", "/apis/hypernetes.io/v1/networks"):
        items = (await admin("GET", f"/tenants/*{path}")).json["items"]
        assert {each["metadata"]["annotations"]["hypernetes.io/tenant"] for each in items} <= {"system"}


async def test_a_tenant_made_again_takes_no_certificate_token_page_or_revision_of_the_former_one(admin: User) -> None:
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    async with await admin.tenant("acme") as acme, admin.anonymous() as pod_of_acme:
        for number in range(3):
            made = await acme("POST", CONFIG_MAPS, {"metadata": {"name": f"secret-{number}"}})
            assert made.status == 201
        issued = await acme("POST", f"{account}/token", {"spec": {}})
        bearer = {"Authorization": f"Bearer {issued.json['status']['token']}"}
        reviews, review = "/apis/authentication.k8s.io/v1/selfsubjectreviews", {"kind": "SelfSubjectReview"}
        assert (await pod_of_acme("POST", reviews, review, headers=bearer)).status == 201
        page = (await acme("GET", CONFIG_MAPS, limit="1")).json["metadata"]
        assert (await admin("DELETE", f"{TENANTS}/acme")).status == 200
        await until(lambda: is_gone(admin))
        assert (await pod_of_acme("POST", reviews, review, headers=bearer)).status == 401
        async with await admin.tenant("acme") as again:
            assert (await pod_of_acme("POST", reviews, review, headers=bearer)).status == 401
            assert (await acme("GET", CONFIG_MAPS)).status == 401
            following = await again("GET", CONFIG_MAPS, **{"continue": page["continue"]})
            assert following.status in (400, 410)
            assert b"secret-" not in following.body
            async with again.watch(CONFIG_MAPS, resourceVersion=page["resourceVersion"]) as watch:
                event = await watch.next()
                assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
