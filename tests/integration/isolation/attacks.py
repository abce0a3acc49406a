"""The ways in which acme's administrator reaches for what is globex's.

Each raises AssertionError where one succeeds, or where its positive control, the same call by the owner, doesn't.
"""

import asyncio
import base64
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

from tests.integration.api.servers import Answer, User
from tests.integration.isolation import agents, samples
from tests.integration.isolation.attempts import Attempt, attempts
from tests.integration.isolation.canaries import Leak
from tests.integration.isolation.offered import Offered
from tests.integration.isolation.witnesses import Witness
from tests.integration.isolation.worlds import SHARED, VICTIM, World, ok, own_name

DRY = {"dryRun": "All"}
_REACHED = (401, 403, 404)  # what a stream's owner isn't answered, though no node is there to answer in full
_MEASURED = "metrics.k8s.io/"  # groups of what agents tell; there are none here, so the owner sees nothing either
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_SELECTED = f"{samples.PUBLIC}={samples.PUBLIC}"
_FOREIGN = (VICTIM, "/tenants/*", "/tenants/system")
# Spellings of a path that somebody might take for globex's.
_TRICKS = (
    "//tenants/globex", "/tenants//globex", "/tenants/acme/../globex", "/tenants/acme/%2e%2e/globex",
    "/tenants/acme%2f..%2fglobex", "/tenants/acme/tenants/globex", "/tenants/%67lobex", "/tenants/globex%2f",
    "/tenants/globex%00", "/tenants/%2a", "/tenants/acme%2c*", "/TENANTS/globex", "/./tenants/globex",
)  # fmt: skip


def each_attempt(world: World) -> Iterator[Attempt]:
    pod = world.known["v1", "pods"]
    for resource in world.offered.values():
        yield from attempts(resource, world.known.get(resource.id, "scheduler"), pod)


async def by_path(world: World) -> None:
    """Every verb of every resource, on the paths of other tenants, of all, and on its own."""
    for attempt in each_attempt(world):
        for root in _FOREIGN:
            for query in ({}, DRY) if attempt.writes else ({},):
                answer = await _try(world, attempt, root, query)
                assert answer.status in (403, 404), (attempt, root, answer.status, answer.body)
        if attempt.verb == "watch":
            continue  # `by_watch` does
        answer = await _try(world, attempt, "", DRY if attempt.writes else {})
        if not world.belongs_to_tenants(attempt.resource, attempt.subresource, attempt.verb):
            assert answer.status in (403, 404), (attempt, answer.status, answer.body)
        elif attempt.resource.name in ("pods", "services") and attempt.streams:
            assert answer.status in (400, 404), (attempt, answer.status, answer.body)


async def controls(world: World) -> None:
    """What acme tried on globex's path, its owner does."""
    for attempt in each_attempt(world):
        if attempt.verb == "watch":
            continue  # `by_watch` does
        answer = await _carried_out(world, attempt)
        if answer.status == 409:  # the server has written the object's status meanwhile
            answer = await _carried_out(world, attempt)
        if attempt.streams or attempt.subresource == "certificate":
            assert answer.status not in _REACHED or b"agent" in answer.body, (attempt, answer.status, answer.body)
        elif attempt.resource.group_version.startswith(_MEASURED) and attempt.verb == "get":
            assert answer.status == 404, (attempt, answer.status, answer.body)
        else:
            assert answer.status < 300, (attempt, answer.status, answer.body)


async def _carried_out(world: World, attempt: Attempt) -> Answer:
    """By the owner. An update sends the object as it is."""
    owner = world.owner(attempt.resource, attempt.subresource, attempt.verb)
    root, body = world.root(attempt.resource), attempt.body
    if attempt.verb == "update" and not attempt.streams:
        body = (await ok(world.provider("GET", root + attempt.path.removesuffix("/finalize")))).json
    query = {**attempt.query, **(DRY if attempt.writes else {})}
    return await owner(attempt.method, root + attempt.path, body, headers=attempt.headers, **query)


async def _try(world: World, attempt: Attempt, root: str, query: dict[str, str]) -> Answer:
    return await world.acme(
        attempt.method, root + attempt.path, attempt.body, headers=attempt.headers, **attempt.query, **query
    )


async def by_list(world: World) -> None:
    """Every form of a list and every selector, of each resource in acme's own tenant."""
    revision = (await ok(world.globex("GET", "/api/v1/pods"))).json["metadata"]["resourceVersion"]
    for resource in world.offered.values():
        if "list" not in resource.verbs:
            continue
        name = world.known.get(resource.id, "scheduler")
        for query in (
            {}, {"resourceVersion": "0"}, {"limit": "1"}, {"labelSelector": _SELECTED}, {"labelSelector": "!nothing"},
            {"fieldSelector": f"metadata.name={name}"}, {"fieldSelector": "metadata.name!=x"},
            {"resourceVersion": revision, "resourceVersionMatch": "Exact"},
        ):  # fmt: skip
            answer = await world.acme("GET", resource.path(), **query)
            assert answer.status in ((200,) if world.belongs_to_tenants(resource, "", "list") else (403, 404)), (
                answer.body
            )
        for accept in (_TABLE, _METADATA, "application/yaml"):
            await world.acme("GET", resource.path(), headers={"Accept": accept}, includeObject="Object")
        if resource.stored:
            shown = await ok(world.owner(resource, "", "list")("GET", world.root(resource) + resource.path()))
            assert _shows(world, shown.body), (resource, "globex's owner sees no canary")


async def by_spelling(world: World) -> None:
    """Paths that mean another tenant to some reader of URLs, if not to ours."""
    for resource in world.stored:
        where = "default" if resource.namespaced else ""
        name = world.known[resource.id]
        for trick in _TRICKS:
            for path in (resource.path(), resource.path(where, name), resource.path(where, watch=True)):
                answer = await world.acme("GET", trick + path)
                assert answer.status >= 400, (trick, path, answer.body)
        for inside in (f"..%2f..%2fglobex%2f{where}", "%2e%2e", "..", "*", "globex%2fdefault", ""):
            await world.acme("GET", resource.path("x", name).replace("/x/", f"/{inside}/"))
            await world.acme("GET", resource.path(where) + f"/{inside}%2f{name}")
            await world.acme("GET", resource.path(where) + f"/{inside}", labelSelector=_SELECTED)
        spelled = world.root(resource).replace("/globex", "/%67lobex") + resource.path(where, name)
        assert _shows(world, (await ok(world.owner(resource, "", "get")("GET", spelled))).body), spelled


async def by_watch(world: World) -> None:
    """Watches of every resource, in all forms; what globex writes meanwhile comes to none of acme's.

    An object of acme's own comes last and ends each watch: whatever was before it has been sent, or never will be.
    """
    async with AsyncExitStack() as stack:
        open_ = []
        for number, resource in enumerate(world.offered.values()):
            if "watch" not in resource.verbs:
                continue
            for form in _watches(world, resource):
                watch = await stack.enter_async_context(world.acme.watch(**form))
                open_.append((number, resource, watch))
        for number, resource in enumerate(world.offered.values()):
            if "watch" in resource.verbs:
                await _write_and_look(world, resource, number)
        for number, resource, watch in open_:
            if world.belongs_to_tenants(resource, "", "watch"):
                assert watch.status == 200, (resource, await watch.rest())
                await watch.until(own_name(resource, number))
            else:
                assert watch.status in (403, 404), (resource, await watch.rest())
                await watch.rest()


def _watches(world: World, resource: Offered) -> Iterator[dict[str, Any]]:
    path = resource.path()
    yield {"path": path, "watch": "true", "resourceVersion": world.before, "allowWatchBookmarks": "true"}
    yield {"path": resource.path(watch=True), "resourceVersion": world.before}
    yield {
        "path": path, "watch": "true", "sendInitialEvents": "true", "allowWatchBookmarks": "true",
        "resourceVersionMatch": "NotOlderThan",
    }  # fmt: skip
    narrowed = {} if resource.kind in SHARED else {"labelSelector": _SELECTED}
    where = "default" if resource.namespaced else ""
    yield {"path": resource.path(where), "accept": _TABLE, "watch": "true", "includeObject": "Object", **narrowed}


async def _write_and_look(world: World, resource: Offered, number: int) -> None:
    """globex's object changes, its owner's watch shows it, and acme gets an object of its own."""
    root, where, name = world.root(resource), "default" if resource.namespaced else "", world.known[resource.id]
    change = {"metadata": {"annotations": {"changed": world.canaries.fresh()}}}
    headers = {"Content-Type": "application/merge-patch+json"}
    written = await ok(world.provider("PATCH", root + resource.path(where, name), change, headers=headers))
    owner = world.owner(resource, "", "watch")
    before = str(int(written.revision) - 1)
    async with owner.watch(root + resource.path(), resourceVersion=before) as watch:
        assert _shows(world, str(await watch.next()).encode()), resource
    body = samples.sample(resource, "default", own_name(resource, number))
    place = root if resource.kind in (*SHARED, "Tenant") else "/tenants/acme"
    await ok(world.provider("POST", place + resource.path(where), body))


async def by_continuing(world: World) -> None:
    """A continue token of globex, in acme's hands, on every resource; also one forged to point outside."""
    for resource in world.stored:
        root = world.root(resource)
        if not root or not world.belongs_to_tenants(resource, "", "list"):
            continue
        listed = await ok(world.globex("GET", resource.path(), limit="1"))
        token = listed.json["metadata"].get("continue")
        if token is None:
            continue
        assert (await world.globex("GET", resource.path(), limit="1", **{"continue": token})).status == 200
        stolen = await world.acme("GET", resource.path(), **{"continue": token})
        assert stolen.status == 400, (resource, stolen.body)
        uid = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).rpartition(b',"')[2].rstrip(b'"]').decode()
        assert uid not in stolen.body.decode()


async def by_reference(world: World) -> None:
    """What acme writes may name anything; it gets nothing of globex's by that, nor does its node."""
    await _owned(world)
    await _admitted(world)
    await _annotated(world)
    await _by_token(world)
    await by_secret(world)
    await _by_role(world)
    await _by_login(world)
    await agents.by_agent(world)


async def _owned(world: World) -> None:
    get = world.globex
    secret, claim = world.known["v1", "secrets"], world.known["v1", "persistentvolumeclaims"]
    volume, account = world.known["v1", "persistentvolumes"], world.known["v1", "serviceaccounts"]
    uid = (await ok(get("GET", f"/api/v1/namespaces/default/secrets/{secret}"))).json["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Secret", "name": secret, "uid": uid, "blockOwnerDeletion": True}
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "owned", "ownerReferences": [owner]}}),
        (
            "/api/v1/namespaces/default/persistentvolumeclaims",
            {
                "metadata": {"name": "claims"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                    "volumeName": volume, "storageClassName": "",
                },
            },
        ),
        (
            "/api/v1/persistentvolumes",
            {
                "metadata": {"name": "claimed"},
                "spec": {
                    "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"},
                    "claimRef": {"namespace": "default", "name": claim},
                },
            },
        ),
        (
            roles,
            {
                "metadata": {"name": "theirs"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "default"}],
            },
        ),
        ("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "moved", "namespace": "globex"}}),
        ("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "../globex/default/x"}}),
    ]  # fmt: skip
    for path, body in bodies:
        mine, theirs = await world.acme("POST", path, body), await world.globex("POST", path, body, **DRY)
        assert mine.status == theirs.status, (body, mine.body, theirs.body)
        assert mine.status in (201, 400, 422), mine.body


async def _admitted(world: World) -> None:
    """Admission looks up what an object names: nothing that only globex has is there for acme."""
    known = world.known
    config_map = {"metadata": {"name": "inside"}}
    inside = f"/api/v1/namespaces/{known['v1', 'namespaces']}/configmaps"
    named = (
        {"serviceAccountName": known["v1", "serviceaccounts"]},
        {"priorityClassName": known["scheduling.k8s.io/v1", "priorityclasses"]},
        {"runtimeClassName": known["node.k8s.io/v1", "runtimeclasses"]},
    )
    pods = "/api/v1/namespaces/default/pods"
    bodies = [
        {"metadata": {"name": "names"}, "spec": {"containers": [{"name": "c", "image": "i"}], **each}} for each in named
    ]
    for path, body in ((inside, config_map), *((pods, body) for body in bodies)):
        mine, theirs = await world.acme("POST", path, body, **DRY), await world.globex("POST", path, body, **DRY)
        assert mine.status in (403, 404), ("admission", body, mine.body)
        assert theirs.status == 201, (body, theirs.body)


async def _annotated(world: World) -> None:
    """The annotation that says an object's tenant to the provider moves nothing."""
    path = "/api/v1/namespaces/default/configmaps"
    body = {"metadata": {"name": "annotated", "annotations": {"hypernetes.io/tenant": "globex"}}}
    await ok(world.acme("POST", path, body))
    assert b"hypernetes.io/tenant" not in (await ok(world.acme("GET", f"{path}/annotated"))).body
    assert (await world.globex("GET", f"{path}/annotated")).status == 404
    listed = (
        await ok(world.provider("GET", "/tenants/*/api/v1/configmaps", fieldSelector="metadata.name=annotated"))
    ).json
    assert [each["metadata"]["annotations"]["hypernetes.io/tenant"] for each in listed["items"]] == ["acme"]


async def _by_token(world: World) -> None:
    """Tokens and names of globex mean nothing in acme, and acme's mean nothing in globex."""
    accounts = "/api/v1/namespaces/default/serviceaccounts/default/token"
    pod = world.known["v1", "pods"]
    bound = {"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": pod}}}
    token = (await ok(world.globex("POST", accounts, bound))).json["status"]["token"]
    refused = await world.acme("POST", accounts, bound)
    assert refused.status in (404, 409, 422), refused.body
    review = {"spec": {"token": token}}
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    assert (await ok(world.globex("POST", path, review))).json["status"]["authenticated"]
    assert not (await world.acme("POST", path, review)).json["status"].get("authenticated"), "globex's token"
    for user in ("globex-admin", "system:admin", "system:hn-controllers"):
        headers = {"Impersonate-User": user, "Impersonate-Group": "system:masters"}
        for root in _FOREIGN:
            assert (await world.acme("GET", f"{root}/api/v1/secrets", headers=headers)).status == 403
        assert (await world.acme("GET", "/api/v1/secrets", headers=headers)).status == 200
    assert (await world.globex("GET", "/api/v1/secrets", headers=headers)).status == 200


async def by_secret(world: World) -> None:
    """A Secret that asks for a token of an account which only globex has stays empty."""
    path, account = "/api/v1/namespaces/default/secrets", world.known["v1", "serviceaccounts"]
    for user, name in ((world.acme, account), (world.acme, "default"), (world.globex, account)):
        body = {
            "metadata": {"name": f"token-{name}", "annotations": {"kubernetes.io/service-account.name": name}},
            "type": "kubernetes.io/service-account-token",
        }
        await ok(user("POST", path, body))
        async with asyncio.timeout(30):
            while (user, name) != (world.acme, account) and not await _holds_token(user, f"{path}/token-{name}"):
                await asyncio.sleep(0.02)
    assert not await _holds_token(world.acme, f"{path}/token-{account}"), "a token"
    await ok(world.globex("DELETE", f"{path}/token-{account}"))


async def _holds_token(user: User | Witness, path: str) -> bool:
    return "token" in ((await ok(user("GET", path))).json.get("data") or {})


async def _by_role(world: World) -> None:
    """Roles and bindings of globex for a name mean nothing for whoever has that name in acme."""
    binding = {
        "metadata": {"name": "jane"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    }
    await ok(world.globex("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding))
    for tenant, code in (("acme", 403), ("globex", 200)):
        async with await world.provider.person(tenant, "jane") as jane:
            for path in ("/api/v1/secrets", "/api/v1/namespaces/default/configmaps", "/api/v1/pods"):
                assert (await jane("GET", path)).status == code, ("role", tenant, path)
    await ok(world.globex("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/jane"))


async def _by_login(world: World) -> None:
    """A password of globex opens nothing of the user of that name in acme, and its token opens globex alone."""
    password, users = "correct horse battery", "apis/hypernetes.io/v1/users"
    for tenant in ("acme", "globex"):
        await ok(world.provider("POST", f"/tenants/{tenant}/{users}", {"metadata": {"name": "mallory"}, "spec": {}}))
    for tenant, own in (("acme", "another password"), ("globex", password)):
        await ok(world.provider("POST", f"/tenants/{tenant}/{users}/mallory/password", {"spec": {"password": own}}))
    asked = {"spec": {"username": "mallory", "password": password}}
    async with world.provider.anonymous() as nobody:
        token = (await ok(nobody("POST", "/tenants/globex/login", asked))).json["status"]["token"]
        assert (await nobody("POST", "/tenants/acme/login", asked)).status == 401, "login"
        for known, code in ((token, 403), (token.replace("globex", "acme"), 401)):
            headers = {"Authorization": f"Bearer {known}"}
            assert (await nobody("GET", "/tenants/acme/api/v1/secrets", headers=headers)).status == code, "login"
    path, review = "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}}
    assert (await ok(world.globex("POST", path, review))).json["status"]["authenticated"]
    assert not (await world.acme("POST", path, review)).json["status"].get("authenticated"), "login"
    for tenant in ("acme", "globex"):
        await ok(world.provider("DELETE", f"/tenants/{tenant}/{users}/mallory"))


async def at_the_server(world: World) -> None:
    """Documents, metrics and what else is no object; and what the provider keeps in every tenant."""
    documents = ("/api", "/apis", "/openapi/v2", "/openapi/v3", "/.well-known/openid-configuration")
    for path in (*documents, "/version", "/readyz"):
        assert (await world.acme("GET", path)).status == 200, path
        if path in documents:
            assert (await world.acme("GET", VICTIM + path)).status in (403, 404), path
            assert (await world.globex("GET", VICTIM + path)).status == 200, path
    for path in ("/metrics", "/tenants", "/debug/pprof/"):
        assert (await world.acme("GET", path)).status in (403, 404), path
    assert b"globex" in (await ok(world.provider("GET", "/apis/hypernetes.io/v1/tenants"))).body
    assert (await world.provider("GET", "/metrics")).status == 200
    assert b'"tenants' not in (await world.acme("GET", "/apis/hypernetes.io/v1")).body, "discovery"
    assert b'"tenants' in (await world.provider("GET", "/apis/hypernetes.io/v1")).body
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/view"
    patch, headers = {"rules": []}, {"Content-Type": "application/merge-patch+json"}
    assert (await world.acme("PATCH", role, patch, headers=headers, **DRY)).status == 403, role
    assert (await world.provider("PATCH", role, patch, headers=headers, **DRY)).status == 200


def _shows(world: World, received: bytes) -> bool:
    """Whether there is a canary in it."""
    try:
        world.canaries.check(received, "")
    except Leak:
        return True
    return False


async def everything(world: World) -> None:
    """All of them; globex is as it was wherever nobody of its own wrote."""
    before = await world.everything()
    for attack in (at_the_server, by_list, by_path, by_spelling, by_continuing, by_reference):
        await attack(world)
    after = await world.everything()
    changed = [name for name in before if before[name] != after[name]]
    assert changed == [], changed
    await by_watch(world)
    await controls(world)
