"""What acme is answered, put so that it can be compared: the same whether globex has anything or not."""

import re
from collections.abc import AsyncIterator
from typing import Any

from tests.integration.api.servers import Answer
from tests.integration.isolation import samples
from tests.integration.isolation.worlds import World, ok

_CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
_QUOTAS = "/api/v1/namespaces/default/resourcequotas"
_SERVICES = "/api/v1/namespaces/default/services"
_SERVICE = {
    "metadata": {"name": "same"},
    "spec": {"type": "NodePort", "clusterIP": "10.254.0.77", "ports": [{"port": 80, "nodePort": 30777}]},
}
_HARD = {"configmaps": "3"}
# Revisions are the store's (docs/security.md), and what is random or a time says nothing.
_CHANGING = re.compile(
    rb'"(?:resourceVersion|continue)":"[^"]*"|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}'
    rb"|\d{4}-\d\d-\d\dT[\d:.]+Z|kube-api-access-\w{5}|10\.254\.\d+\.\d+"
)


async def answers(world: World) -> dict[str, tuple[int, bytes]]:
    """What acme's administrator is answered to many questions; acme has the same afterwards as before."""
    found = {}
    async for asked, answer in _asked(world):
        found[asked] = (answer.status, _CHANGING.sub(b"", answer.body))
    return found


async def _asked(world: World) -> AsyncIterator[tuple[str, Answer]]:
    ask = world.acme
    for resource in world.to_tenants.values():
        if resource.name == "nodes":
            continue  # the provider's, which come and go for all
        where = "default" if resource.namespaced else ""
        for verb, query in (("list", {"limit": "1"}), ("list", {"labelSelector": "x"}), ("get", {})):
            if verb in resource.verbs:
                name = samples.named(resource, "absent") if verb == "get" else ""
                path = resource.path(where if name else "", name)
                yield f"{verb} {path} {query}", await ask("GET", path, **query)
        if not resource.stored:
            continue
        body = samples.sample(resource, "default", samples.named(resource, "tried"))
        for sent in (body, {"metadata": {}}, {"metadata": {"name": "_"}}):
            yield f"create {resource.id} {sent}", await ask("POST", resource.path(where), sent, dryRun="All")
        path = resource.path(where, samples.named(resource, "absent"))
        yield f"delete {path}", await ask("DELETE", path)
    for path in (
        "/openapi/v3",
        "/apis",
        "/metrics",
        "/version",
        "/tenants/globex/api/v1/pods",
        "/tenants/none/api/v1/pods",
    ):
        yield path, await ask("GET", path)
    yield "same service", await ask("POST", _SERVICES, _SERVICE)
    yield "no longer", await ask("DELETE", f"{_SERVICES}/same")
    for number, answer in enumerate(await _until_refused(ask)):
        yield f"quota {number}", answer


async def _until_refused(ask: Any) -> list[Answer]:
    """Config maps up to a quota and one more; then all that is gone."""
    await _limit(ask)
    made = [await ask("POST", _CONFIG_MAPS, {"metadata": {"name": f"q{number}"}}) for number in range(4)]
    made.append(await ask("GET", f"{_QUOTAS}/same"))
    for number in range(4):
        await ask("DELETE", f"{_CONFIG_MAPS}/q{number}")
    await ok(ask("DELETE", f"{_QUOTAS}/same"))
    return made


async def _limit(ask: Any) -> None:
    made = await ok(ask("POST", _QUOTAS, {"metadata": {"name": "same"}, "spec": {"hard": _HARD}}))
    await ok(ask("PUT", f"{_QUOTAS}/same/status", {**made.json, "status": {"hard": _HARD}}))


async def crowd(world: World) -> None:
    """globex takes all that acme may ask for: names, an address, a port, a quota that is used up."""
    await world.fill()
    await ok(world.globex("POST", _SERVICES, _SERVICE))
    await _limit(world.globex)
    for number in range(3):
        await world.globex("POST", _CONFIG_MAPS, {"metadata": {"name": f"q{number}"}})
    for name in ("absent", "tried"):
        for resource in world.stored:
            if world.belongs_to_tenants(resource, "", "create"):
                body = samples.sample(resource, "default", samples.named(resource, name))
                answer = await world.globex("POST", resource.path("default"), body)
                # the quota is used up, and some objects have two names
                assert answer.status in (201, 403, 409), answer.body


async def comparison(world: World) -> None:
    """Raises AssertionError where acme can tell that globex has something. The world is not filled yet."""
    before = await answers(world)
    assert before["quota 0"][0] == 201
    assert before["quota 3"][0] == 403, before["quota 3"]
    assert before["same service"][0] == 201, before["same service"]
    await crowd(world)
    after = await answers(world)
    over = await world.globex("POST", _CONFIG_MAPS, {"metadata": {"name": "over"}})
    assert over.status == 403, over.body  # what acme did to its quota did nothing to globex's
    differing = [(asked, before[asked], after[asked]) for asked in before if before[asked] != after[asked]]
    assert differing == [], differing
