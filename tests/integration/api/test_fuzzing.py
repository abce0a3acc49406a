"""Nothing that a client sends makes the server fail: no 5xx, every refusal a Status, and it lives on.

The seed is new each time and is printed at the end; `FUZZ_SEED=…` repeats a run.
"""

import asyncio
import base64
import http.client
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from hypernetes.api import scheme
from hypernetes.api.scheme import Resource
from hypernetes.apiserver import protobuf
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.pki import ADMIN, PkiDirectory, client_context
from tests.integration.api import fuzzing
from tests.integration.api.servers import IN_EVERY_TENANT, serving

JSON = {"Content-Type": "application/json"}
SEVERAL_SECONDS = 10.0  # for one answer; the machine that runs the tests has other things to do


class Live:
    """A server in a thread of its own, and one connection of the administrator."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._context: ssl.SSLContext | None = None
        self._url = ""
        self._connection: http.client.HTTPSConnection | None = None

    async def _serve(self) -> None:
        store = await open_store(str(self._directory / "state.db"))
        try:
            async with serving(store, self._directory, "fuzz") as admin:
                pki = PkiDirectory(self._directory / "pki", "")
                self._context = client_context(pki.ca_certificate, pki.certificate(ADMIN), pki.key(ADMIN))
                self._url = admin.url
                self._ready.set()
                await self._over.wait()
        finally:
            await store.close()

    def __enter__(self) -> "Live":
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __call__(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """The answer's status and body, checked."""
        if self._connection is None:
            url = urlsplit(self._url)
            self._connection = http.client.HTTPSConnection(
                str(url.hostname), url.port, context=self._context, timeout=30
            )
        began = time.monotonic()
        self._connection.request(method, path, body, headers or {})
        answer = self._connection.getresponse()
        data = answer.read()
        shown = f"{method} {path} {headers} {body!r:.2000}: {answer.status} {data!r:.500}"
        # what upstream answers with 504 and 501, too
        known = b'"ResourceVersionTooLarge"' in data or answer.status == 501
        assert answer.status < 500 or known, shown
        assert time.monotonic() - began < SEVERAL_SECONDS, shown
        if method != "HEAD" and answer.status >= 400:
            status = status_of(answer.getheader("Content-Type") or "", data)
            assert status is None or (status["kind"], status["code"]) == ("Status", answer.status), shown
        if answer.will_close:
            self.hang_up()
        return answer.status, data


def status_of(content_type: str, data: bytes) -> Any:
    """None where the answer is text."""
    if content_type == protobuf.MEDIA_TYPE:
        return protobuf.decode(data)
    return orjson.loads(data) if content_type.startswith("application/json") else None


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with Live(tmp_path_factory.mktemp("fuzz")) as found:
        yield found
        assert found("GET", "/api/v1/namespaces/default")[0] == 200


def fuzzed(examples: int) -> Any:
    def decorate(test: Any) -> Any:
        return seed(fuzzing.SEED)(settings(fuzzing.SETTINGS, max_examples=examples)(test))

    return decorate


def path_of(resource: Resource) -> str:
    return resource.path(None, "default" if resource.namespaced else None)


CREATABLE = fuzzing.creatable()
KEPT = [each for each in CREATABLE if {"get", "list", "update", "patch", "delete"} <= set(each.verbs)]
MERGE = {"Content-Type": "application/merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


@fuzzed(250)
@given(data=st.data())
def test_objects_of_every_kind(live: Live, data: st.DataObject) -> None:
    resource = data.draw(st.sampled_from(CREATABLE))
    body = orjson.dumps(data.draw(fuzzing.objects(resource) | fuzzing.plausible(resource)))
    strictness = data.draw(st.sampled_from(["Ignore", "Warn", "Strict"]))
    live("POST", f"{path_of(resource)}?dryRun=All&fieldValidation={strictness}", body, JSON)
    live("PUT", f"{path_of(resource)}/fuzzed?dryRun=All", body, JSON)


@fuzzed(250)
@given(data=st.data())
def test_whatever_is_taken_can_be_shown_changed_and_deleted(live: Live, data: st.DataObject) -> None:
    resource = data.draw(st.sampled_from(KEPT))
    path = path_of(resource)
    body, (content_type, patch) = data.draw(fuzzing.plausible(resource)), data.draw(fuzzing.patches(resource))
    lies, applied = data.draw(fuzzing.managers), data.draw(fuzzing.plausible(resource))
    force = data.draw(st.booleans())
    status, made = live("POST", path, orjson.dumps(body), JSON)
    if status != 201:
        return
    obj = orjson.loads(made)
    one = f"{path}/{quote(obj['metadata']['name'])}"
    for headers in (TABLE, {"Accept": "application/yaml"}, {}):
        assert live("GET", one, None, headers)[0] == 200
        assert live("GET", path, None, headers)[0] == 200
    assert live("PUT", one, made, JSON)[0] in (200, 409, 422)
    assert live("PATCH", one, b"{}", MERGE)[0] in (200, 422)
    live("PATCH", one, patch, {"Content-Type": content_type})
    live("PATCH", one, orjson.dumps({"metadata": {"managedFields": lies}}), MERGE)
    applied |= {"apiVersion": resource.api_version, "kind": resource.kind}
    applied["metadata"] = {"name": obj["metadata"]["name"], "labels": {"a": "b"}}
    live("PATCH", f"{one}?fieldManager=f&force={force}", orjson.dumps(applied), APPLY)
    assert live("PATCH", one, b'{"metadata":{"finalizers":null}}', MERGE)[0] in (200, 404, 422)
    assert live("DELETE", f"{one}?gracePeriodSeconds=0", None, {})[0] in (200, 403, 404, 409)


@fuzzed(250)
@given(data=st.data())
def test_messages_in_protobuf(live: Live, data: st.DataObject) -> None:
    resource = data.draw(st.sampled_from(CREATABLE))
    body = data.draw(fuzzing.protobufs(resource))
    headers = {"Content-Type": protobuf.MEDIA_TYPE, "Accept": data.draw(fuzzing.accepts)}
    live("POST", f"{path_of(resource)}?dryRun=All", body, headers)
    live("PUT", f"{path_of(resource)}/fuzzed?dryRun=All", body, headers)


@fuzzed(200)
@given(noise=st.binary(max_size=300), media_type=st.sampled_from(["json", "yaml", "vnd.kubernetes.protobuf", "x"]))
def test_noise(live: Live, noise: bytes, media_type: str) -> None:
    headers = {"Content-Type": f"application/{media_type}"}
    for body in (noise, b"k8s\x00" + noise, b"{" + noise, b"a: " + noise):
        live("POST", "/api/v1/namespaces/default/pods?dryRun=All", body, headers)
    live("DELETE", "/api/v1/namespaces/default/pods/none", noise, headers)


@fuzzed(200)
@given(resource=st.sampled_from([each for each in scheme.served() if "list" in each.verbs]), query=fuzzing.queries,
       accept=fuzzing.accepts, verb=st.sampled_from(["GET", "GET", "GET", "DELETE"]))  # fmt: skip
def test_queries(live: Live, resource: Resource, query: list[tuple[str, str]], accept: str, verb: str) -> None:
    if verb == "DELETE":
        query = [*query, ("dryRun", "All")]
    if any(name == "resourceVersion" and value.isdecimal() and int(value) > 100 for name, value in query):
        return  # answered when the revision has come, or after seconds
    live(verb, f"{path_of(resource)}?{urlencode(query)}", None, {"Accept": accept})


@fuzzed(200)
@given(
    path=fuzzing.paths,
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "X"]),
)
def test_paths(live: Live, path: str, method: str) -> None:
    if "watch" not in path:
        live(method, path, b"{}" if method in ("POST", "PUT", "PATCH") else None, JSON)


@pytest.fixture(scope="module")
def token(live: Live) -> bytes:
    first = orjson.loads(live("GET", "/api/v1/configmaps?limit=1")[1])
    return base64.urlsafe_b64decode(first["metadata"]["continue"] + "==")


@fuzzed(200)
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2), st.binary(max_size=3)), min_size=1, max_size=3))
def test_forged_continue_tokens(live: Live, token: bytes, changes: list[tuple[float, int, bytes]]) -> None:
    changed = bytearray(token)
    for where, count, data in changes:
        at = int(where * len(changed))
        changed[at : at + count] = data
    forged = base64.urlsafe_b64encode(changed).decode().rstrip("=")
    status, body = live("GET", f"/api/v1/configmaps?limit=5&continue={forged}")
    assert status in (200, 400, 410)
    if status == 200:
        assert {item["metadata"]["name"] for item in orjson.loads(body)["items"]} <= IN_EVERY_TENANT
