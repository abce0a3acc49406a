"""The agent of a node that has pods of acme only, against globex; the control is the agent of globex's pod."""

from typing import Any

from tests.integration.isolation.belongings import ATTACHMENTS as _ATTACHMENTS
from tests.integration.isolation.belongings import HELD, PORT
from tests.integration.isolation.belongings import HYPERNETES as _HYPERNETES
from tests.integration.isolation.belongings import NAMESPACE as _CORE
from tests.integration.isolation.worlds import VICTIM, World, ok

_MERGE = {"Content-Type": "application/merge-patch+json"}


def _read(world: World) -> tuple[str, ...]:
    known = world.known
    return (
        f"{_CORE}/secrets/{known['v1', 'secrets']}",
        f"{_CORE}/configmaps/{known['v1', 'configmaps']}",
        f"{_CORE}/persistentvolumeclaims/{known['v1', 'persistentvolumeclaims']}",
        f"{_CORE}/serviceaccounts/default",
        f"{_CORE}/pods/names-it",
        f"/api/v1/persistentvolumes/{HELD}",
        "/api/v1/namespaces/default",
        "/api/v1/namespaces",
        "/api/v1/services",
        "/apis/discovery.k8s.io/v1/endpointslices",
        "/apis/networking.k8s.io/v1/networkpolicies",
        f"{_HYPERNETES}/networks/default",
        f"{_HYPERNETES}/ports",
        f"{_HYPERNETES}/ports/{PORT}",
        f"{_HYPERNETES}/nodevolumes/{HELD}",
        f"{_ATTACHMENTS}/{HELD}",
    )


async def by_agent(world: World) -> None:
    await _reads(world)
    await _writes(world)


async def _reads(world: World) -> None:
    for path in _read(world):
        assert (await world.agent("GET", VICTIM + path)).status in (403, 404), path
        assert (await world.agent("GET", f"/tenants/*{path}")).status >= 400, path
        assert (await world.other_agent("GET", VICTIM + path)).status == 200, path
    for path in ("pods", "secrets", "endpoints", "configmaps", "persistentvolumes", "persistentvolumeclaims"):
        assert (await world.agent("GET", f"{VICTIM}/api/v1/{path}")).status in (403, 404), path
        assert (await world.agent("GET", f"/tenants/*/api/v1/{path}")).status >= 400, path
    tenant = f"{_HYPERNETES}/tenants/globex"
    assert (await world.agent("GET", tenant)).status in (403, 404)
    assert (await world.other_agent("GET", tenant)).status == 200
    selected = {"fieldSelector": "spec.nodeName=n1"}
    for path in ("/api/v1/pods", f"{_HYPERNETES}/nodevolumes", _ATTACHMENTS):
        await ok(world.agent("GET", f"/tenants/*{path}", **selected))
        for selector in ("", "spec.nodeName=n2", "spec.nodeName!=n1"):
            answer = await world.agent("GET", f"/tenants/*{path}", **({"fieldSelector": selector} if selector else {}))
            assert answer.status == 403, (path, selector)


async def _writes(world: World) -> None:
    pod = (await ok(world.provider("GET", f"{VICTIM}{_CORE}/pods/names-it"))).json["metadata"]["uid"]
    about = {"kind": "Pod", "namespace": "default", "name": "names-it", "uid": pod}
    event = {"metadata": {"name": "said"}, "involvedObject": about, "reason": "R", "message": "m", "type": "Normal"}
    events_v1 = {
        "metadata": {"name": "said-too"}, "regarding": about, "reason": "R", "note": "m", "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.000000Z", "action": "A", "reportingController": "a.example.com",
        "reportingInstance": "i",
    }  # fmt: skip
    bound = {"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "names-it", "uid": pod}}}
    size = {"metadata": {"annotations": {"hypernetes.io/file-system-bytes": "1"}}}
    attempts: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("PATCH", f"{_CORE}/pods/names-it/status", {"status": {"phase": "Pending"}}),
        ("PATCH", f"{_HYPERNETES}/nodevolumes/{HELD}/status", {"status": {"capacity": "1Gi"}}),
        ("PATCH", f"{_ATTACHMENTS}/{HELD}", size),
        ("POST", f"{_CORE}/events", event),
        ("POST", "/apis/events.k8s.io/v1/namespaces/default/events", events_v1),
        ("POST", f"{_CORE}/serviceaccounts/default/token", bound),
    )
    for method, path, body in attempts:
        headers = _MERGE if method == "PATCH" else {}
        refused = await world.agent(method, VICTIM + path, body, headers=headers)
        assert refused.status in (403, 404), (path, refused.body)
        done = await world.other_agent(method, VICTIM + path, body, headers=headers, dryRun="All")
        assert done.status in (200, 201), (path, done.body)
    for path in (f"{_CORE}/pods/names-it", f"{_HYPERNETES}/ports/{PORT}"):
        assert (await world.agent("DELETE", VICTIM + path)).status in (403, 404), path
        assert (await world.other_agent("DELETE", VICTIM + path, dryRun="All")).status == 200, path
