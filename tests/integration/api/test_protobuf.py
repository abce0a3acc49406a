"""A client that speaks only protobuf, and what it is answered."""

import asyncio
import gzip
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from hypernetes.api import scheme
from hypernetes.api.scheme import Resource
from hypernetes.apiserver import protobuf
from hypernetes.apiserver.protobuf import descriptors, wire
from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api import fuzzing
from tests.integration.api.messages import MAGIC, META, PROTOBUF, Client, message, opened, sealed
from tests.integration.api.servers import User, serving

STATUS = f"{META}.Status"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
CONFIG_MAP = "k8s.io.api.core.v1.ConfigMap"
PODS = "/api/v1/namespaces/default/pods"
METADATA = "as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
METADATA_LIST = "as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_NAMESPACE = re.compile(rb'"a-[a-z]{3}-[0-9]{4}"')  # of a recorded sequence
_NAMED = ("apiservices", "csidrivers", "ipaddresses")  # whose names say something
KINDS = [each for each in scheme.served() if "create" in each.verbs and protobuf.has(each.api_version, each.kind)]


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[User]:
    store = await open_store(str(tmp_path / "state.db"))
    try:
        async with serving(store, tmp_path, f"t{secrets.token_hex(3)}") as user:
            yield user
    finally:
        await store.close()


@pytest.fixture
def client(admin: User) -> Client:
    return Client(admin)


def path_of(resource: Resource) -> str:
    return resource.path(None, "default" if resource.namespaced else None)


def recorded(resource: Resource) -> list[dict[str, Any]]:
    """Objects of a kind that upstream took, under a name of ours."""
    found = []
    for each in fuzzing.recorded()[resource.api_version, resource.kind]:
        obj = orjson.loads(_NAMESPACE.sub(b'"default"', orjson.dumps(each)))
        kept = {key: value for key, value in obj.get("metadata", {}).items() if key in ("labels", "annotations")}
        name = each.get("metadata", {}).get("name", "spoken")
        obj["metadata"] = {**kept, "name": name if resource.name in _NAMED else "spoken"}
        if not resource.is_stored:
            del obj["metadata"]
        found.append(obj)
    return found


async def created(client: Client, resource: Resource) -> Any:
    """The message of a new object of the kind, after a round through a client's classes."""
    name = descriptors.of_kind(resource.api_version, resource.kind)
    assert name is not None
    refused = []
    for obj in recorded(resource):
        spoken = message(name).FromString(opened(protobuf.encode(obj))[2])
        made = await client("POST", path_of(resource), sealed(resource.api_version, resource.kind, spoken))
        if made.status == 201:
            assert (made.api_version, made.kind) == (resource.api_version, resource.kind)
            return made.of(name)
        refused.append(made.of(STATUS).message)
    raise AssertionError(f"{resource.group_resource}: {refused}")


async def labelled(client: Client, resource: Resource, path: str) -> Any:
    """The object after an update of what it was."""
    name = descriptors.of_kind(resource.api_version, resource.kind)
    while True:
        read = (await client("GET", path)).of(name)
        read.metadata.labels["spoken"] = "yes"
        answer = await client("PUT", path, sealed(resource.api_version, resource.kind, read))
        if answer.status != 409:  # somebody else was faster
            updated = answer.of(name)
            assert updated.metadata.labels["spoken"] == "yes"
            return updated


async def speaks(client: Client, resource: Resource) -> None:
    """Lists, watches, creates, reads, updates and deletes an object of the kind."""
    kind, version = resource.kind, resource.api_version
    name, list_name = descriptors.of_kind(version, kind), descriptors.of_kind(version, f"{kind}List")
    before = await client("GET", path_of(resource))
    assert (before.kind, before.api_version) == (f"{kind}List", version)
    revision = before.of(list_name).metadata.resourceVersion
    async with client.watch(path_of(resource), resourceVersion=revision) as watch:
        made = await created(client, resource)
        path = f"{path_of(resource)}/{made.metadata.name}"
        event, its_kind, raw = await watch.next()
        assert (event, its_kind) == ("ADDED", kind)
        assert message(name).FromString(raw) == made
        updated = await labelled(client, resource, path)
        assert int(updated.metadata.resourceVersion) > int(made.metadata.resourceVersion)
        seen = made
        while seen != updated:  # the server itself may write to what is new: it looks at requests for certificates
            event, _, raw = await watch.next()
            assert event == "MODIFIED"
            seen = message(name).FromString(raw)
        listed = (await client("GET", path_of(resource), labelSelector="spoken=yes")).of(list_name)
        assert [each.metadata.uid for each in listed.items] == [updated.metadata.uid]
        gone = sealed("v1", "DeleteOptions", message(f"{META}.DeleteOptions")(gracePeriodSeconds=0))
        assert (await client("DELETE", path, gone)).status == 200


async def test_every_built_in_kind_is_listed_watched_created_and_updated(client: Client) -> None:
    kept = [each for each in KINDS if each.is_stored]
    assert len(kept) > 40
    for resource in kept:
        try:
            await speaks(client, resource)
        except BaseException as error:
            error.add_note(resource.group_resource)
            raise


async def test_what_is_asked_and_not_kept_is_answered(client: Client) -> None:
    for resource in KINDS:
        if not resource.is_stored and resource.name != "bindings":
            made = await created(client, resource)
            assert made.HasField("status"), resource.group_resource
    review = message("k8s.io.api.authentication.v1.SelfSubjectReview")()
    answer = await client("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                          sealed("authentication.k8s.io/v1", "SelfSubjectReview", review))  # fmt: skip
    user = answer.of("k8s.io.api.authentication.v1.SelfSubjectReview").status.userInfo
    assert "system:masters" in user.groups
    components = await client("GET", "/api/v1/componentstatuses")
    assert len(components.of("k8s.io.api.core.v1.ComponentStatusList").items) == 3


def pod(name: str) -> bytes:
    made = message("k8s.io.api.core.v1.Pod")()
    made.metadata.name = name
    made.spec.containers.add(name="c", image="x")
    made.spec.hostNetwork = False  # as Go's clients write what isn't set
    made.spec.nodeName = ""
    return sealed("v1", "Pod", made)


async def test_subresources_are_spoken_to(client: Client) -> None:
    assert (await client("POST", PODS, pod("a"))).status == 201
    binding = message("k8s.io.api.core.v1.Binding")()
    binding.metadata.name, binding.target.name = "a", "n1"
    bound = await client("POST", f"{PODS}/a/binding", sealed("v1", "Binding", binding))
    assert (bound.status, bound.of(STATUS).status) == (201, "Success")
    running = (await client("GET", f"{PODS}/a")).of("k8s.io.api.core.v1.Pod")
    assert running.spec.nodeName == "n1"
    running.status.phase = "Running"
    told = await client("PUT", f"{PODS}/a/status", sealed("v1", "Pod", running))
    assert told.of("k8s.io.api.core.v1.Pod").status.phase == "Running"
    eviction = message("k8s.io.api.policy.v1.Eviction")()
    eviction.metadata.name = "a"
    assert (await client("POST", f"{PODS}/a/eviction", sealed("policy/v1", "Eviction", eviction))).status == 201
    request = message("k8s.io.api.authentication.v1.TokenRequest")()
    request.spec.expirationSeconds = 3600
    token = await client("POST", "/api/v1/namespaces/default/serviceaccounts/default/token",
                         sealed("authentication.k8s.io/v1", "TokenRequest", request))  # fmt: skip
    assert token.of("k8s.io.api.authentication.v1.TokenRequest").status.token
    deployment = scheme.by_name("apps/v1", "deployments")
    name = (await created(client, deployment)).metadata.name
    scale = await client("GET", f"{path_of(deployment)}/{name}/scale")
    wanted = scale.of("k8s.io.api.autoscaling.v1.Scale")
    wanted.spec.replicas = 5
    scaled = await client("PUT", f"{path_of(deployment)}/{name}/scale", sealed("autoscaling/v1", "Scale", wanted))
    assert scaled.of("k8s.io.api.autoscaling.v1.Scale").spec.replicas == 5


async def test_an_empty_text_that_means_something_is_kept(client: Client, admin: User) -> None:
    claim = message("k8s.io.api.core.v1.PersistentVolumeClaim")()
    claim.metadata.name, claim.spec.storageClassName, claim.spec.volumeName = "a", "", ""
    claim.spec.accessModes.append("ReadWriteOnce")
    claim.spec.resources.requests["storage"].string = "1Gi"
    path = "/api/v1/namespaces/default/persistentvolumeclaims"
    assert (await client("POST", path, sealed("v1", "PersistentVolumeClaim", claim))).status == 201
    spec = (await admin("GET", f"{path}/a")).json["spec"]
    assert (spec["storageClassName"], spec.get("volumeName")) == ("", None)


async def test_errors_are_told_in_protobuf(client: Client) -> None:
    missing = await client("GET", f"{CONFIG_MAPS}/none")
    status = missing.of(STATUS)
    assert (missing.status, status.code, status.reason, status.details.name) == (404, 404, "NotFound", "none")
    bad = message(CONFIG_MAP)()
    bad.metadata.name = "Not A Name"
    invalid = await client("POST", CONFIG_MAPS, sealed("v1", "ConfigMap", bad))
    assert (invalid.status, [each.field for each in invalid.of(STATUS).details.causes]) == (422, ["metadata.name"])
    other = await client("POST", CONFIG_MAPS, sealed("v1", "Secret", bad))
    assert (other.status, other.of(STATUS).reason) == (400, "BadRequest")
    for body in (b"", b"{}", b"k8s\x00", b"k8s\x00\xff", sealed("v1", "Gadget", bad), sealed("v1", "Status", bad)):
        assert (await client("POST", CONFIG_MAPS, body)).status in (400, 422), body
    assert (await client("POST", CONFIG_MAPS, b"k8s\x00" + b"x" * 4 * 1024 * 1024)).status == 413
    assert (await client("GET", "/apis/none/v1/things")).status == 404
    assert (await client("DELETE", "/api/v1/namespaces/default/pods/none")).status == 404


async def test_what_stands_for_millions_of_objects_is_refused_while_others_are_served(client: Client) -> None:
    containers = b"\x12\x00" * 1_000_000  # each without a field
    unknown = message("k8s.io.apimachinery.pkg.runtime.Unknown")(raw=wire.chunk(wire.SECOND, containers))
    unknown.typeMeta.apiVersion, unknown.typeMeta.kind = "v1", "Pod"
    bombs = asyncio.gather(*(client("POST", PODS, MAGIC + unknown.SerializeToString()) for _ in range(4)))
    served = 0
    while not bombs.done():
        assert (await client("GET", "/api/v1/namespaces/default")).status == 200
        served += 1
    assert [bomb.status for bomb in await bombs] == [400] * 4
    assert served > 1
    assert "more than 200,000 parts" in (await bombs)[0].of(STATUS).message


async def test_our_own_kinds_are_json_but_for_their_metadata(client: Client, admin: User) -> None:
    networks = "/apis/hypernetes.io/v1/networks"
    refused = await client("GET", networks)
    assert (refused.status, refused.of(STATUS).reason) == (406, "NotAcceptable")
    listed = await admin("GET", networks, headers={"Accept": f"{PROTOBUF},application/json"})
    assert (listed.headers["Content-Type"], listed.json["kind"]) == ("application/json", "NetworkList")
    for method, path in (("POST", networks), ("PUT", f"{networks}/default")):
        assert (await client(method, path, sealed("v1", "ConfigMap", message(CONFIG_MAP)()))).status in (406, 415)
    sent = await admin("POST", networks, b"k8s\x00", headers={"Content-Type": PROTOBUF})
    assert sent.status == 415
    whole = await admin("GET", networks, headers={"Accept": f"{PROTOBUF};{METADATA_LIST},application/json"})
    assert whole.headers["Content-Type"] == PROTOBUF
    _, kind, raw = opened(whole.body)
    items = message(f"{META}.{kind}").FromString(raw).items
    assert (kind, [each.metadata.name for each in items]) == ("PartialObjectMetadataList", ["default"])
    one = await admin("GET", f"{networks}/default", headers={"Accept": f"{PROTOBUF};{METADATA}"})
    api_version, kind, raw = opened(one.body)
    assert (api_version, kind) == ("meta.k8s.io/v1", "PartialObjectMetadata")
    assert message(f"{META}.{kind}").FromString(raw).metadata == items[0].metadata
    table = f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io"
    assert (await admin("GET", CONFIG_MAPS, headers={"Accept": table})).status == 406
    tables = f"{table},{table.replace(PROTOBUF, 'application/json')}"
    tabled = await admin("GET", CONFIG_MAPS, headers={"Accept": tables})
    assert tabled.json["kind"] == "Table"


async def test_a_watch_begins_with_what_is_there_and_ends_it_with_a_bookmark(client: Client) -> None:
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with client.watch(CONFIG_MAPS, **query) as watch:
        event, kind, raw = await watch.next()
        assert (event, kind) == ("ADDED", "ConfigMap")
        event, kind, raw = await watch.next()
        marked = message(CONFIG_MAP).FromString(raw).metadata
        assert (event, kind) == ("BOOKMARK", "ConfigMap")
        assert dict(marked.annotations) == {"k8s.io/initial-events-end": "true"}


async def test_a_long_list_is_streamed_and_compressed(client: Client, admin: User) -> None:
    for number in range(4):
        made = message(CONFIG_MAP)()
        made.metadata.name, made.data["text"] = f"c{number}", f"{number:04}" * 50_000
        assert (await client("POST", CONFIG_MAPS, sealed("v1", "ConfigMap", made))).status == 201
    listed = (await client("GET", CONFIG_MAPS)).of("k8s.io.api.core.v1.ConfigMapList")
    assert [len(each.data["text"]) for each in listed.items[:4]] == [200_000] * 4
    async with admin.raw(CONFIG_MAPS, {"Accept": PROTOBUF, "Accept-Encoding": "gzip"}) as answer:
        assert (answer.headers["Content-Encoding"], answer.headers["Content-Type"]) == ("gzip", PROTOBUF)
        raw = opened(gzip.decompress(await answer.read()))[2]
    assert message("k8s.io.api.core.v1.ConfigMapList").FromString(raw) == listed
    page = (await client("GET", CONFIG_MAPS, limit="2")).of("k8s.io.api.core.v1.ConfigMapList")
    assert (len(page.items), page.metadata.remainingItemCount) == (2, 3)
    rest = await client("GET", CONFIG_MAPS, **{"limit": "2", "continue": getattr(page.metadata, "continue")})
    assert [each.metadata.name for each in rest.of("k8s.io.api.core.v1.ConfigMapList").items] == ["c2", "c3"]
    everywhere = (await client("GET", "/tenants/*/api/v1/configmaps")).of("k8s.io.api.core.v1.ConfigMapList")
    assert {each.metadata.annotations["hypernetes.io/tenant"] for each in everywhere.items} == {"system"}
    gone = (await client("DELETE", CONFIG_MAPS)).of("k8s.io.api.core.v1.ConfigMapList")
    assert len(gone.items) == 5


async def test_discovery_is_told_in_protobuf(client: Client, admin: User) -> None:
    versions = (await client("GET", "/api")).of(f"{META}.APIVersions")
    assert list(versions.versions) == ["v1"]
    assert "apps" in [group.name for group in (await client("GET", "/apis")).of(f"{META}.APIGroupList").groups]
    assert (await client("GET", "/apis/apps")).of(f"{META}.APIGroup").preferredVersion.version == "v1"
    for path in ("/api/v1", "/apis/apps/v1"):
        resources = (await client("GET", path)).of(f"{META}.APIResourceList").resources
        listed = (await admin("GET", path)).json["resources"]
        assert [(each.name, list(each.verbs.items)) for each in resources] == [(e["name"], e["verbs"]) for e in listed]
    aggregated = f"{PROTOBUF};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    answer = await admin("GET", "/apis", headers={"Accept": aggregated})
    assert answer.headers["Content-Type"] == aggregated
    groups = message("k8s.io.api.apidiscovery.v2.APIGroupDiscoveryList").FromString(opened(answer.body)[2])
    assert "apps" in [group.metadata.name for group in groups.items]
    version = await admin("GET", "/version", headers={"Accept": f"{PROTOBUF},*/*"})
    assert version.json["major"] == "1"
