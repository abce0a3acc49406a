"""What a client may get wrong, and what a hostile one tries: always a 4xx that says why, at once, and never a crash."""

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api.servers import IN_EVERY_TENANT, Answer, User, serving

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
EVENTS = "/api/v1/namespaces/default/events"
SEVERAL_SECONDS = 5.0  # goal: one; the machine that runs the tests has other things to do

CONTAINER = {"name": "c", "image": "nginx"}
TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [CONTAINER]}}
DEPLOYMENT = {"metadata": {"name": "there"}, "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": TEMPLATE}}
FINE: dict[str, dict[str, Any]] = {
    CONFIG_MAPS: {"metadata": {"name": "there"}, "data": {"k": "v"}},
    PODS: {"metadata": {"name": "there"}, "spec": {"containers": [CONTAINER]}},
    SERVICES: {"metadata": {"name": "there"}, "spec": {"ports": [{"port": 80}]}},
    DEPLOYMENTS: DEPLOYMENT,
}
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class Client:
    """A user whose every answer is checked: it comes soon, and it isn't the server's fault."""

    def __init__(self, user: User, admin: User | None = None) -> None:
        self.user, self.admin = user, admin or user

    async def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        began = time.monotonic()
        answer = await self.user(method, path, body, **more)
        took = time.monotonic() - began
        shown = f"{method} {path[:200]} {str(body)[:200]} {more}: {answer.status} {answer.body[:500]!r}"
        # 504 is what upstream says to a resourceVersion that isn't there yet, too
        assert answer.status < 500 or b'"ResourceVersionTooLarge"' in answer.body, shown
        assert took < SEVERAL_SECONDS, f"{took:.1f} s for {shown}"
        if answer.status >= 400 and method != "HEAD" and answer.headers["Content-Type"] != "text/plain; charset=utf-8":
            status = answer.json
            assert (status["kind"], status["code"]) == ("Status", answer.status), shown
            assert status["message"], shown
            assert status["reason"], shown
        return answer

    async def sent(self, body: bytes, content_type: str, path: str = CONFIG_MAPS, method: str = "POST") -> Answer:
        return await self(method, path, body, headers={"Content-Type": content_type})

    async def patched(self, path: str, body: Any, content_type: str) -> Answer:
        return await self("PATCH", f"{path}/there", body, headers={"Content-Type": content_type})


@pytest.fixture
async def client(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Client]:
    """The administrator of a tenant; afterwards the server must be alive, and its log must have no error."""
    store = await open_store(str(tmp_path / "state.db"))
    with structlog.testing.capture_logs() as lines:
        caplog.set_level(logging.ERROR)
        async with serving(store, tmp_path, "badput") as admin, await admin.tenant("acme") as acme:
            for path, body in FINE.items():
                made = await acme("POST", path, body)
                assert made.status == 201, made.body
            yield Client(acme, admin)
            assert (await acme("GET", f"{CONFIG_MAPS}/there")).status == 200
    await store.close()
    assert not [line for line in lines if line["log_level"] in ("error", "critical")]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def nested(depth: int, begin: str, end: str, middle: str = "") -> bytes:
    return f"{begin * depth}{middle}{end * depth}".encode()


LAUGHS = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)  # fmt: skip
MERGED_LAUGHS = "\n".join(
    ["a0: &a0 {x: 1, y: 2, z: 3}"]
    + [f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)]
)  # fmt: skip
MALFORMED_JSON = [
    b"", b" ", b"{", b"}", b"nul", b"null", b"true", b"7", b'"x"', b"[]", b"[{}]", b"{}{}", b"{'a': 1}", b'{"a": 1,}',
    b'{"data": {"k": NaN}}', b'{"data": {"k": Infinity}}', b"\xff\xfe{}", b'{"data": {"k": "\xff"}}', b"\x00",
    b'{"data": {"k": "\\ud800"}}', b'{"metadata": {"name": "a\\u0000b"}}', b'{"metadata": "x"}', b'{"metadata": []}',
    b'{"metadata": {"generation": 1e400}}', b'{"metadata": {"generation": 1.5}}',
    b'{"metadata": {"generation": ' + b"9" * 5000 + b"}}",
    nested(500, '{"a":', "}", "1"), nested(1000, '{"a":', "}", "1"), nested(100_000, '{"a":', "}", "1"),
    nested(1000, "[", "]"), nested(1_000_000, "[", "]"),
    b'{"metadata": {"name": "deep", "managedFields": [{"fieldsV1": ' + nested(900, '{"a":', "}", "{}") + b"}]}}",
    b'{"metadata": {"name": "deep", "unknown": ' + nested(900, "[", "]") + b"}}",
]  # fmt: skip
MALFORMED_YAML = [
    b"", b"\t", b"a:\n\tb: 1", b"a: b: c", b"- 1", b"x", b"{", b"? [a]\n: b", b"a: *nowhere", b"a: &a [*a]",
    b"&a {a: *a}", b"---\na: 1\n---\nb: 2", b"!!python/object/apply:os.system ['true']", b"a: !!binary gA==",
    b"metadata: {name: !!set {a, b}}", b"metadata: {name: [!!omap [a: 1]]}", b"\xff\xfe\x00", b"a: \xff",
    b"metadata: {generation: " + b"9" * 5000 + b"}", b"metadata: {generation: .nan}", b"data: {k: .inf}",
    b"metadata: {name: b, managedFields: [{fieldsV1: {a: .nan, b: !!binary gA==, c: !!set {a}}}]}",
    b"metadata: {name: c, managedFields: [{fieldsV1: {1: {null: {}}}}]}",
    nested(1000, "[", "]"), nested(100_000, "[", "]"), nested(300_000, "{a: ", "}"), nested(20_000, "- ", ""),
    LAUGHS.encode(), MERGED_LAUGHS.encode(), b"a: [" + b"x," * 1_000_000 + b"]", b"a: 1\n" * 500_000,
    b"k: |\n" + b" x\n" * 900_000, b"%TAG ! tag:x,2000:\n--- !y\na: 1", b"<<: 5", b"<<: [[a]]", b"a: 0x" + b"f" * 5000,
]  # fmt: skip


async def test_malformed_json(client: Client) -> None:
    for body in MALFORMED_JSON:
        for mode in ("Ignore", "Warn", "Strict"):
            answer = await client("POST", CONFIG_MAPS, body, fieldValidation=mode)
            assert answer.status in (400, 422) or b'"deep"' in answer.body, (body[:100], answer.body[:300])


async def test_malformed_yaml(client: Client) -> None:
    for body in MALFORMED_YAML:
        answer = await client.sent(body, YAML)
        assert answer.status in (400, 413, 422) or b'"managedFields"' not in answer.body, (
            body[:100],
            answer.body[:300],
        )


async def test_keys_that_come_often(client: Client) -> None:
    once = b"{" + b",".join(b'"k%d":1' % number for number in range(150_000)) + b"}"
    twice = b"{" + b",".join(b'"k%d":1' % (number // 2) for number in range(150_000)) + b"}"
    for body in (once, twice, b'{"a":{},' + b",".join([b'"metadata":{"name":"x"}'] * 60_000) + b"}"):
        await client("POST", CONFIG_MAPS, body, fieldValidation="Strict")


async def test_bodies_that_are_too_large(client: Client) -> None:
    body = orjson.dumps({"metadata": {"name": "large"}, "data": {"k": "x" * 3 * 1024 * 1024}})
    for content_type in ("application/json", YAML, PROTOBUF):
        assert (await client.sent(body, content_type)).status == 413
    for content_type in (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH):
        assert (await client.patched(CONFIG_MAPS, body, content_type)).status == 413
    assert (await client("DELETE", f"{CONFIG_MAPS}/there", body)).status == 413
    under = orjson.dumps({"metadata": {"name": "large"}, "data": {"k": "x" * 2 * 1024 * 1024}})
    assert (await client("POST", CONFIG_MAPS, under)).status == 422


async def test_content_types(client: Client) -> None:
    good = orjson.dumps({"metadata": {"name": "typed"}})
    for content_type in ("text/plain", "application/xml", "x", "application/json-patch+json", "multipart/form-data"):
        assert (await client.sent(good, content_type)).status == 415, content_type
    for content_type in ("application/json", YAML, "text/plain", ""):
        assert (await client.patched(CONFIG_MAPS, good, content_type)).status == 415, content_type
    for accept in ("text/html", "x", "application/json;as=Table;g=x;v=v1", ";;;,,,=", "application/*;q="):
        await client("GET", CONFIG_MAPS, headers={"Accept": accept})


async def test_wrong_types_everywhere(client: Client) -> None:
    """Each value of a good object in turn is replaced by one of every other type."""
    for path, fine in FINE.items():
        for keys in list(paths_of(fine)):
            for wrong in (None, True, -1, 1.5, 2**63, "", "x" * 5000, "é\n", [], [None], [[]], {}, {"": None}):
                body = replaced(fine, keys, wrong)
                await client("POST", path, body, dryRun="All")
                await client("PUT", f"{path}/there", body, dryRun="All")


def paths_of(value: Any, keys: tuple[Any, ...] = ()) -> Any:
    yield keys
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in entries:
        yield from paths_of(item, (*keys, key))


def replaced(value: Any, keys: tuple[Any, ...], new: Any) -> Any:
    if not keys:
        return new
    copied: Any = dict(value) if isinstance(value, dict) else list(value)
    copied[keys[0]] = replaced(value[keys[0]], keys[1:], new)
    return copied


QUANTITIES = [
    "1e999", "1e-999", "-1e999", "9" * 400, "0." + "0" * 400 + "1", "9" * 40 + "Ei", "1.5Ei", "1e18Ei", "-0", "+1",
    "1e", "1ee1", "1Kii", "0x10", "NaN", "Infinity", "1_000", "١", " 1", "1 ", "", ".", "-", "1.", ".5", "1.5m",
    "100000000000000000000000000000001n", "1e28", "123456789012345678901234567890.123456789012345678901234567890",
    1e300, -5, 1.5, 0.1, "1" * 1_000_000, "9223372036854775808", "0.0000000000001Ki",
]  # fmt: skip


async def test_quantities(client: Client) -> None:
    for amount in QUANTITIES:
        for part in ("limits", "requests"):
            container = {**CONTAINER, "resources": {part: {"cpu": amount, "memory": amount}}}
            body = {"metadata": {"name": "q"}, "spec": {"containers": [container]}}
            assert (await client("POST", PODS, body, dryRun="All")).status in (201, 400, 422), amount


async def test_metadata(client: Client) -> None:
    long = "x" * 300
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}
    for refused in (
        {"name": "UPPER"}, {"name": "a_b"}, {"name": "-a"}, {"name": "a/b"}, {"name": ".."}, {"name": long},
        {"name": "é"}, {"name": "a\n"}, {"name": "a\x00"}, {"name": "x" * 100_000}, {"generateName": "A_"}, {},
        {"generateName": "a/"}, {"name": "A", "generateName": "a-"}, {"name": "a", "namespace": "other"},
        {"generateName": long},
        {"name": "a", "labels": {"k": "x" * 64}}, {"name": "a", "labels": {"k" * 64: ""}},
        {"name": "a", "labels": {"a/b/c": ""}}, {"name": "a", "labels": {"": "x"}}, {"name": "a", "labels": {"k": "é"}},
        {"name": "a", "annotations": {"k": "x" * 256 * 1024}}, {"name": "a", "annotations": {"a b": ""}},
        {"name": "a", "finalizers": [""]}, {"name": "a", "finalizers": ["plain"]}, {"name": "a", "finalizers": ["a/ "]},
        {"name": "a", "ownerReferences": [{}]}, {"name": "a", "ownerReferences": [{**owner, "kind": ""}]},
        {"name": "a", "ownerReferences": [{**owner, "controller": True, "name": name} for name in "pq"]},
        {"name": "a", "resourceVersion": "1"}, {"name": "a", "creationTimestamp": "yesterday"},
        {"name": "a", "deletionTimestamp": "9999-99-99T99:99:99Z"}, {"name": "a",
        "creationTimestamp": "0000-01-01T00:00:00Z"},
        {"name": "a", "labels": {f"Bad Key {number}": "é" for number in range(20_000)}},
        {"name": "a", "finalizers": [f"bad {number}" for number in range(20_000)]},
    ):  # fmt: skip
        answer = await client("POST", CONFIG_MAPS, {"metadata": refused}, dryRun="All")
        assert answer.status in (400, 422), (str(refused)[:200], answer.body[:300])
    for taken in ({"generateName": "x" * 200}, {"name": "a", "uid": "not a uid", "generation": 7, "selfLink": "x"}):
        assert (await client("POST", CONFIG_MAPS, {"metadata": taken}, dryRun="All")).status == 201


async def test_another_kind_name_or_version_than_the_url_says(client: Client) -> None:
    for body in ({"kind": "Secret"}, {"apiVersion": "v2"}, {"apiVersion": "apps/v1"}, {"kind": "", "apiVersion": "/"}):
        assert (await client("POST", CONFIG_MAPS, {"metadata": {"name": "a"}, **body})).status == 400, body
    for name in ("other", "", None, "UPPER"):
        answer = await client("PUT", f"{CONFIG_MAPS}/there", {"metadata": {"name": name}})
        assert answer.status in (400, 422), name


async def test_preconditions(client: Client) -> None:
    for version in ("1", "0", "-1", "x", "99999999999999999999999", "1.5", " ", "é"):
        body = {"metadata": {"name": "there", "resourceVersion": version}}
        assert (await client("PUT", f"{CONFIG_MAPS}/there", body)).status in (400, 409, 422), version
    for options, code in (
        ({"preconditions": {"uid": "another"}}, (409,)), ({"preconditions": {"resourceVersion": "1"}}, (409,)),
        ({"preconditions": {"uid": 5}}, (400,)), ({"preconditions": []}, (400,)), ({"gracePeriodSeconds": "x"}, (400,)),
        ({"gracePeriodSeconds": 2**63}, (400,)), ({"propagationPolicy": "Sometimes"}, (422,)),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, (422,)), ({"dryRun": ["Some"]}, (422,)),
        ({"kind": "Pod"}, (400,)), ([], (400,)), (b"{", (400,)),
    ):  # fmt: skip
        assert (await client("DELETE", f"{PODS}/there", options)).status in code, options
    largest = {"gracePeriodSeconds": 2**63 - 1}
    await client("DELETE", f"{PODS}/there", largest)
    assert (
        await client("PUT", f"{CONFIG_MAPS}/there", {"metadata": {"name": "there", "uid": "another"}})
    ).status == 409


async def test_subresources(client: Client) -> None:
    wrong = (None, True, -1, 2**31, 2**63 - 1, 1.5, "", "x", [], [None], {}, {"": None})
    for path, fine in (
        ("/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": {"audiences": ["a"],
        "expirationSeconds": 600,
         "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "there", "uid": "x"}}}),
        (f"{DEPLOYMENTS}/there/scale", {"metadata": {"name": "there"}, "spec": {"replicas": 1}}),
        (f"{DEPLOYMENTS}/there/status", {"metadata": {"name": "there"}, "status": {"replicas": 1, "conditions": [{}]}}),
        ("/api/v1/namespaces/default/finalize", {"metadata": {"name": "default"},
        "spec": {"finalizers": ["kubernetes"]}}),
    ):  # fmt: skip
        for keys in list(paths_of(fine)):
            for value in wrong:
                method = "POST" if path.endswith("token") else "PUT"
                await client(method, path, replaced(fine, keys, value), dryRun="All")
    for name in ("log", "exec", "attach"):
        for query in ({"container": "é/.."}, {"tailLines": "x"}, {"sinceSeconds": "-1"}, {"limitBytes": "9" * 400},
                      {"sinceTime": "x"}, {"command": "\x00"}, {"stdin": "maybe"}, {"previous": "1",
                      "follow": "1"}):  # fmt: skip
            await client("GET", f"{PODS}/there/{name}", **query)


async def test_what_only_the_provider_writes(client: Client) -> None:
    admin = Client(client.admin)
    wrong = (None, True, -1, 2**31, 1.5, "", "x" * 5000, "a/b", [], [None], {}, {"": None})
    for path, fine in (
        ("/apis/hypernetes.io/v1/tenants", {"metadata": {"name": "t"}, "spec": {"serviceCIDR": "10.9.0.0/16"}}),
        ("/apis/hypernetes.io/v1/tenants/acme/certificate", {"spec": {"request": "eA==", "user": "u",
        "groups": ["g"]}}),
        ("/api/v1/nodes", {"metadata": {"name": "n"}, "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
                           "status": {"capacity": {"cpu": "1"}, "conditions": [{"type": "Ready", "status": "True"}]}}),
        ("/tenants/acme/apis/hypernetes.io/v1/ports", {"metadata": {"name": "default.10.0.0.2"},
         "spec": {"network": "default", "address": "10.0.0.2"}}),
        (f"/tenants/acme{PODS}/there/binding", {"metadata": {"name": "there"}, "target": {"kind": "Node",
        "name": "n"}}),
        (f"/tenants/acme{PODS}/there/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}],
         "containerStatuses": [{"name": "c", "state": {"running": {}}}], "startTime": "2026-01-01T00:00:00Z"}}),
    ):  # fmt: skip
        method = "PATCH" if path.endswith("status") else "POST"
        for keys in list(paths_of(fine)):
            for value in wrong:
                content_type = MERGE_PATCH if method == "PATCH" else "application/json"
                headers = {"Accept": TABLE if "certificate" not in path else "*/*", "Content-Type": content_type}
                await admin(method, path, replaced(fine, keys, value), dryRun="All", headers=headers)


async def test_a_pod_with_an_endless_grace_period_can_be_deleted(client: Client) -> None:
    pod = {
        "metadata": {"name": "slow"},
        "spec": {"containers": [CONTAINER], "terminationGracePeriodSeconds": 2**63 - 1},
    }
    assert (await client("POST", PODS, pod)).status == 201
    bound = await client.admin("POST", f"/tenants/acme{PODS}/slow/binding", {"target": {"kind": "Node", "name": "n"}})
    assert bound.status == 201, bound.body
    assert (await client("DELETE", f"{PODS}/slow", {"gracePeriodSeconds": 2**63 - 1})).status == 200
    assert (await client("DELETE", f"{PODS}/slow")).status == 200
    assert (await client("DELETE", f"{PODS}/slow", {"gracePeriodSeconds": 0})).status == 200
    assert (await client("GET", f"{PODS}/slow")).status == 404


async def test_query_parameters(client: Client) -> None:
    huge, garbage = "9" * 4000, ("x", "-1", "1.5", "1e9", "é", " ", "0x1", "1_0", "%00")
    for name in ("limit", "timeoutSeconds", "resourceVersion", "continue", "resourceVersionMatch", "sendInitialEvents",
                 "allowWatchBookmarks", "includeObject", "gracePeriodSeconds", "dryRun",
                 "fieldValidation"):  # fmt: skip
        for value in (*garbage, huge, "9223372036854775807", "9223372036854775808", "18446744073709551616"):
            if name == "resourceVersion" and value.isdecimal() and value != huge:
                continue  # answered, but only after a wait for that revision
            await client("GET", CONFIG_MAPS, **{name: value})
            await client("GET", f"{CONFIG_MAPS}/there", **{name: value})
            await client("POST", CONFIG_MAPS, {"metadata": {"name": "q"}}, **{name: value, "dryRun": "All"})
    await client("GET", f"{CONFIG_MAPS}?a=%ff%00&limit=%ff&%00=&labelSelector=%ff")
    assert (await client("DELETE", "/api/v1/configmaps")).status == 405
    await client("DELETE", CONFIG_MAPS, limit="-1", dryRun="All")
    await client("DELETE", CONFIG_MAPS, labelSelector="a in (", dryRun="All")


async def test_a_watch_with_an_absurd_deadline_is_refused_or_served(client: Client) -> None:
    for seconds in ("9" * 400, "9223372036854775808", "1e5", "x"):
        assert (await client("GET", CONFIG_MAPS, watch="1", timeoutSeconds=seconds)).status == 400, seconds
    async with client.user.watch(CONFIG_MAPS, timeoutSeconds="9223372036854775807") as watch:
        assert (await watch.next())["type"] == "ADDED"
    assert (await client("GET", CONFIG_MAPS, watch="1", timeoutSeconds="-5")).status == 200


async def test_continue_tokens(client: Client) -> None:
    first = (await client("GET", "/api/v1/configmaps", limit="1")).json["metadata"]["continue"]
    raw = base64.urlsafe_b64decode(first + "==")
    start, revision, uid = orjson.loads(raw)
    for content in (
        [start, -1, uid], [start, 2**63, uid], [start, 2**200, uid], [start, 1.5, uid], [start, True, uid], [5,
        revision, uid],
        [start, revision, "x"], [start, revision], {}, "x", None, [start, revision, uid, 1], ["", revision, uid],
        ["../../../", revision, uid], ["\x00", revision, uid], ["\U0010ffff", revision, uid], ["/" * 5000, 0, uid],
    ):  # fmt: skip
        data = content if isinstance(content, str) else str(content).replace("'", '"').replace("True", "true")
        token = base64.urlsafe_b64encode(data.encode()).decode().rstrip("=")
        answer = await client("GET", "/api/v1/configmaps", **{"continue": token})
        assert answer.status in (200, 400, 410, 504), content
        if answer.status == 200:
            assert {item["metadata"]["name"] for item in answer.json["items"]} <= {"there", *IN_EVERY_TENANT}
    for token in ("x", "é", "=", "a" * 8000, first[:-3], f"{first}x", first.upper()):
        await client("GET", CONFIG_MAPS, **{"continue": token})


async def test_selectors(client: Client) -> None:
    for selector in (
        "=", "==", "!=", "!", "(", ")", ",", "a in", "a in (", "a in (b", "a in (b,", "a notin b", "a=b=c", "a,,b",
        "a b",
        "!a=b", "é=1", "a=é", "a>b", "a>1", "a<", "a in ()", "a/b/c=1", "=x", "a=" + "x" * 64, "x" * 8000,
        "a," * 4000, "(" * 4000, "a in (" + "b," * 3000 + ")", " " * 8000, "a=b\x00",
    ):  # fmt: skip
        for name in ("labelSelector", "fieldSelector"):
            assert (await client("GET", CONFIG_MAPS, **{name: selector})).status in (200, 400), selector[:50]
    for selector in ("metadata.name", "spec.nodeName=x", "metadata.name>a", "metadata.name==a,=", "\\", "\\,", "a\\"):
        await client("GET", CONFIG_MAPS, fieldSelector=selector)


HOSTILE_JSON_PATCHES: list[Any] = [
    b"", b"{", {}, None, "x", [5], [None], [[]], [{}], [{"op": "add"}], [{"op": "explode", "path": "/a"}],
    [{"op": ["add"], "path": "/a"}], [{"op": "add", "path": 5, "value": 1}], [{"op": "add", "path": "", "value": 1}],
    [{"op": "add", "path": "", "value": {}}], [{"op": "remove", "path": ""}], [{"op": "remove", "path": "/"}],
    [{"op": "remove", "path": "/metadata"}], [{"op": "replace", "path": "/metadata", "value": None}],
    [{"op": "replace", "path": "/metadata/name", "value": "x"}], [{"op": "add", "path": "/data/k/deep", "value": 1}],
    [{"op": "test", "path": "/data/k", "value": {"a": []}}], [{"op": "add", "path": "/a" * 10_000, "value": 1}],
    [{"op": "copy", "from": "/data", "path": f"/data/{n}"} for n in range(10_000)],
    [{"op": "copy", "from": "/data", "path": "/data/d"}] * 500, [{"op": "copy", "from": "/data",
    "path": "/data/d"}] * 30,
    [{"op": "copy", "from": "", "path": "/data"}], [{"op": "move", "from": "/data", "path": "/data/x/y"}],
    [{"op": "add", "path": "/metadata/finalizers", "value": []},
     {"op": "add", "path": "/metadata/finalizers/-1", "value": "a/b"}, {"op": "remove",
     "path": "/metadata/finalizers/-9"}],
    [{"op": "add", "path": "/metadata/finalizers", "value": ["a/b"]},
     {"op": "replace", "path": "/metadata/finalizers/99999999999999999999", "value": "a/b"}],
    [{"op": "test", "path": "/kind", "value": "x"}] * 10_001, [{"op": "test", "path": "/kind",
    "value": "ConfigMap"}] * 9999,
    [{"op": "add", "path": "/metadata/labels", "value": {"a": 1}}], [{"op": "add", "path": "~2", "value": 1}],
    nested(500, "[", "]"), b'[{"op":"add","path":"/data/x","value":' + nested(990, "[", "]") + b"}]",
    b'[{"op":"test","path":"/data","value":' + nested(990, '{"a":', "}", "1") + b"}]",
    b'[{"op":"add","path":"/metadata/managedFields","value":[{"fieldsV1":' + nested(300, '{"a":', "}", "1") + b"}]}]",
]  # fmt: skip
HOSTILE_MERGES: list[Any] = [
    b"", b"{", [], None, 5, "x", {"metadata": None}, {"metadata": 5}, {"metadata": {"name": None}},
    {"metadata": {"uid": "x"}},
    {"metadata": {"name": "x"}}, {"metadata": {"labels": []}}, {"kind": "Secret"}, {"apiVersion": None}, {"spec": 5},
    {"spec": {"containers": {}}}, {"spec": {"containers": [None, 5, [], {}]}},
    {"spec": {"containers": [{"name": None}]}},
    {"spec": {"containers": [{"name": {"a": 1}}, {"name": {"a": 1}}]}}, {"data": {"k": {"$patch": "delete"}}},
    {"$patch": "replace"}, {"$patch": "delete"}, {"$patch": "explode"}, {"$patch": {}}, {"$retainKeys": 5},
    {"$retainKeys": [{}, []]}, {"spec": {"$retainKeys": ["x"], "containers": []}}, {"metadata": {"$patch": "delete"}},
    {"spec": {"containers": [{"$patch": "delete"}]}}, {"spec": {"containers": [{"$patch": "replace"}]}},
    {"spec": {"containers": [{"$patch": [], "name": "c"}]}}, {"spec": {"$setElementOrder/containers": 5}},
    {"spec": {"$setElementOrder/containers": [5, None, {}]}},
    {"spec": {"$setElementOrder/containers": [{"name": "z"}]}},
    {"spec": {"$setElementOrder/restartPolicy": ["x"], "restartPolicy": "x"}}, {"$setElementOrder/": []},
    {"metadata": {"$deleteFromPrimitiveList/finalizers": 5}},
    {"metadata": {"$deleteFromPrimitiveList/finalizers": [{}]}},
    {"metadata": {"$deleteFromPrimitiveList/": ["x"], "$setElementOrder/finalizers": ["a/b"]}},
    {"spec": {"template": {"spec": {"containers": [{"name": f"c{n}"} for n in range(20_000)]}}}},
    {"spec": {"containers": [{"name": f"c{n}"} for n in range(20_000)]}},
    {"spec": {"containers": [{"name": f"c{n}", "$patch": "delete"} for n in range(20_000)]}},
    {"metadata": {"finalizers": [f"a/b{n}" for n in range(50_000)]}},
    {"metadata": {"finalizers": [f"a/b{n}" for n in range(40_000)],
    "$setElementOrder/finalizers": [f"a/b{n}" for n in range(40_000)]}},
    {"metadata": {"$deleteFromPrimitiveList/finalizers": [f"a/b{n}" for n in range(100_000)]}},
    {"$retainKeys": [f"k{n}" for n in range(40_000)], **{f"k{n}": 1 for n in range(40_000)}},
    nested(500, '{"a":', "}", "1"), nested(990, '{"data":', "}", "1"), nested(100_000, '{"a":', "}", "1"),
    b'{"metadata":{"managedFields":[{"fieldsV1":' + nested(300, '{"a":', "}", "1") + b"}]}}",
]  # fmt: skip


async def test_json_patches(client: Client) -> None:
    for patch in HOSTILE_JSON_PATCHES:
        for path in (CONFIG_MAPS, DEPLOYMENTS):
            await client.patched(path, patch, JSON_PATCH)


def manager(name: str, fields: Any, **more: Any) -> dict[str, Any]:
    return {
        "manager": name, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields,
        **more,
    }  # fmt: skip


LYING_MANAGERS: list[Any] = [
    5, "x", {}, [5], [None], [[]], [{"fieldsV1": 5}], [{"fieldsV1": []}], [{"manager": {}}], [{"time": "yesterday"}],
    [manager("a", {}, operation="Steal")], [manager("a", {}, apiVersion="")], [manager("a", {}, fieldsType="FieldsV9")],
    [manager("a", {"f:data": {"f:k": {}}}, apiVersion="v99")], [manager("a", {}, apiVersion="/" * 1000)],
    [manager("a", {"data": {}})], [manager("a", {"f:data": 5})], [manager("a", {"": {}})], [manager("a", {".": {}})],
    [manager("a", {"f:nowhere": {"f:to": {"f:be": {"f:found": {}}}}})], [manager("a", {"f:metadata": {"f:name": {}}})],
    [manager("a", {"k:{": {}, "v:": {}, "i:x": {}, "x:y": {}})], [manager("a", {"f:data": {'k:{"a":{"b":[]}}': {}}})],
    [manager("a", {"i:" + "9" * 5000: {}})], [manager("a" * 100_000, {"f:data": {}})],
    [manager("a", {"f:data": {"f:k": {}}}, subresource="x" * 10_000)], [manager("a", {"f:data": {"f:k": {}}})] * 10_000,
    [manager(f"m{n}", {"f:data": {"f:k": {}}}) for n in range(10_000)],
    [manager(f"m{n}", {"f:data": {"f:k": {}}}, operation="Apply") for n in range(5_000)],
    [manager("a", {f"f:{n}": {} for n in range(100_000)})],
    [manager("a", {"f:spec": {f'k:{{"name":"{n}"}}': {"f:x": {}} for n in range(20_000)}})],
    [manager("a", {"f:data": {"f:\ud7ff\u0000],\"": {}}})],
]  # fmt: skip


async def test_managers_that_lie(client: Client) -> None:
    apply = {"Content-Type": "application/apply-patch+yaml"}
    for number, lies in enumerate(LYING_MANAGERS):
        await client(
            "POST", CONFIG_MAPS, {"metadata": {"name": f"n{number}", "managedFields": lies}, "data": {"k": "v"}}
        )
        lied = await client.patched(CONFIG_MAPS, {"metadata": {"managedFields": lies}}, MERGE_PATCH)
        assert lied.status in (200, 422), lied.body
        await client.patched(CONFIG_MAPS, {"metadata": {"labels": {"a": str(number)}}}, MERGE_PATCH)
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "there", "labels": {"b": str(number)}}}
        await client("PATCH", f"{CONFIG_MAPS}/there", config, headers=apply, fieldManager="true", force="true")
        shown = (await client("GET", f"{CONFIG_MAPS}/there")).json["metadata"]
        assert shown["labels"]["b"] == str(number)
        assert sum(each["operation"] == "Update" for each in shown["managedFields"]) <= 10
        assert (await client.patched(CONFIG_MAPS, {"metadata": {"managedFields": [{}]}}, MERGE_PATCH)).status == 200
        assert "managedFields" not in (await client("GET", f"{CONFIG_MAPS}/there")).json["metadata"]


HOSTILE_CONFIGURATIONS: list[Any] = [
    b"", b"{", b"[]", b"5", b"null", b"a: [", b"\xff", b"a: &a {b: *a}", {}, {"kind": "ConfigMap"},
    {"apiVersion": "v1"}, {"apiVersion": {}, "kind": []}, {"metadata": 5}, {"metadata": None},
    {"metadata": {"name": 5}}, {"metadata": {"name": None}}, {"metadata": {"name": "other"}},
    {"metadata": {"namespace": "other"}}, {"metadata": {"managedFields": []}},
    {"metadata": {"managedFields": 5}}, {"metadata": {"labels": 5}},
    {"metadata": {"labels": {"a": None}}}, {"metadata": {"finalizers": [None]}}, {"metadata": {"finalizers": [[]]}},
    {"metadata": {"finalizers": ["a/b", "a/b"]}}, {"metadata": {"finalizers": [f"a/b{n}" for n in range(50_000)]}},
    {"metadata": {"ownerReferences": [{}]}}, {"metadata": {"ownerReferences": [5]}},
    {"metadata": {"annotations": {f"k{n}": "" for n in range(40_000)}}}, {"metadata": {"resourceVersion": "x"}},
    {"metadata": {"uid": "x"}}, {"metadata": {"creationTimestamp": "never"}}, {"spec": 5}, {"spec": None}, {"data": []},
    {"spec": {"containers": {}}}, {"spec": {"containers": [5]}}, {"spec": {"containers": [None]}},
    {"spec": {"containers": [{}]}}, {"spec": {"containers": [{"name": {}}]}},
    {"spec": {"containers": [{"name": None}]}},
    {"spec": {"containers": [{"name": "c"}, {"name": "c"}]}}, {"spec": {"containers": [{"name": "c", "ports": [{}]}]}},
    {"spec": {"containers": [{"name": f"c{n}"} for n in range(20_000)]}}, {"spec": {"x": {"y": {}}}},
    {"spec": {"ports": [{"port": 80}, {"port": 80.0}, {"port": "80"}, {"port": True}]}}, {"status": {"x": 1}},
    {"spec": {"replicas": 1e300}}, {"spec": {"replicas": "1"}}, {"spec": {"template": {"spec": {"containers": [{}]}}}},
    nested(500, '{"a":', "}", "1"), nested(100_000, '{"metadata":', "}", "1"), LAUGHS.encode(),
]  # fmt: skip


async def test_configurations(client: Client) -> None:
    kinds = {CONFIG_MAPS: ("v1", "ConfigMap"), PODS: ("v1", "Pod"), DEPLOYMENTS: ("apps/v1", "Deployment")}
    headers = {"Content-Type": "application/apply-patch+yaml"}
    for config in HOSTILE_CONFIGURATIONS:
        for path, (api_version, kind) in kinds.items():
            known = isinstance(config, dict) and not {"apiVersion", "kind"} & config.keys()
            body = {"apiVersion": api_version, "kind": kind, **config} if known else config
            for name in ("there", "new")[: 1 if path == PODS else 2]:
                await client(
                    "PATCH", f"{path}/{name}", body, headers=headers, fieldManager="m", force="true", dryRun="All"
                )
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", **config} if isinstance(config, dict) else config
        for part in ("scale", "status"):
            await client("PATCH", f"{DEPLOYMENTS}/there/{part}", scale, headers=headers, fieldManager="m", dryRun="All")


@pytest.mark.parametrize("content_type", [MERGE_PATCH, STRATEGIC_PATCH])
async def test_merge_patches(client: Client, content_type: str) -> None:
    for patch in HOSTILE_MERGES:
        for path in (CONFIG_MAPS, PODS, DEPLOYMENTS):
            await client("PATCH", f"{path}/there", patch, headers={"Content-Type": content_type}, dryRun="All")
    for path in ("/scale", "/status", ""):
        await client.user(
            "PATCH", f"{DEPLOYMENTS}/there{path}", {"spec": {"replicas": "x"}}, headers={"Content-Type": content_type}
        )


async def test_paths(client: Client) -> None:
    for path in (
        "/", "//", "/api", "/api/", "/api//v1", "/api/v1//", "/api/v1/namespaces//pods", "/api/v1/nothing",
        "/apis/nothing",
        "/apis/nothing/v1/things", "/apis//v1/pods", "/apis/apps/v9/deployments", "/api/v1/pods/name", "/tenants",
        "/tenants/",
        "/tenants//api/v1/pods", "/tenants/acme", "/tenants/acme/", "/tenants/acme//api",
        "/tenants/acme/tenants/acme/api",
        "/tenants/%2a/api/v1/pods", "/tenants/acme%2fdefault/api/v1/pods", "/tenants/../api/v1/pods",
        "/%2e%2e/api/v1/pods",
        "/api/v1/namespaces/..%2f..%2fsystem/pods", "/api/v1/namespaces/-/configmaps", "/api/v1/namespaces/%00/pods",
        "/api/v1/namespaces/%ff/pods", "/api/v1/namespaces/default/pods/a%2fb", f"{PODS}/there/log/x",
        f"{PODS}/there/nothing",
        "/api/v1/namespaces/default/nodes/n", "/api/v1/namespaces/default/%F0%9F%92%A9", f"{PODS}/{'x' * 5000}",
        "/%C3%A9", "/api/v1/watch",
        "/api/v1/watch/pods", "/api/v1/watch/watch/pods", "/openapi/v3/apis/nothing/v1", "/openapi/v9", "/version/x",
        "/metrics",
        "/healthz/x", "/api/v1/namespaces/default/status/x", "/api/v1/namespaces/default/finalize", "/api/v1/pods;x=1",
    ):  # fmt: skip
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
            body = {"metadata": {"name": "a"}} if method in ("POST", "PUT") else None
            if "watch" not in path:
                await client(method, path, body)


async def test_a_name_in_a_path_reaches_no_other_key(client: Client) -> None:
    for name in ("..", "%2e%2e", "a%2f..%2fthere", "%2f", "default%2fthere", "there%00", "there%20"):
        for path in (CONFIG_MAPS, EVENTS):
            assert (await client("GET", f"{path}/{name}")).status in (400, 404), name
            body = {"metadata": {"name": name}}
            assert (await client("PUT", f"{path}/{name}", body)).status in (400, 404, 422), name
    for namespace in ("default%2fthere", "-%2fdefault", "default%2f..%2fdefault"):
        assert (await client("GET", f"/api/v1/namespaces/{namespace}/configmaps/there")).status == 404
        assert (await client("POST", f"/api/v1/namespaces/{namespace}/configmaps", FINE[CONFIG_MAPS])).status in (
            400,
            404,
        )


async def test_messages_that_are_no_http(client: Client) -> None:
    host, _, port = client.user.url.removeprefix("https://").partition(":")
    for garbage in (
        b"\x00" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01" + b"\xff" * 500,
        b"GET " + b"/" * 100_000,
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(garbage)
        try:
            async with asyncio.timeout(1):
                await reader.read(1000)
        except (TimeoutError, ConnectionError):
            pass
        writer.close()


async def test_objects_without_metadata_of_kinds_that_are_stored_in_another_version(client: Client) -> None:
    autoscaler = {
        "metadata": {"name": "there"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "X", "name": "x"}},
    }
    for path in (
        "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
        "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
        "/apis/events.k8s.io/v1/namespaces/default/events",
    ):
        await client("POST", path, autoscaler)
        for body in ({}, {"metadata": None}, {"metadata": {}}):
            assert (await client("POST", path, body)).status in (400, 422)
            assert (await client("PUT", f"{path}/there", body)).status in (400, 422)
        await client("PATCH", f"{path}/there", {"metadata": None}, headers={"Content-Type": MERGE_PATCH})
        await client("PATCH", f"{path}/there", {"$patch": "delete"}, headers={"Content-Type": STRATEGIC_PATCH})
