"""Replays recorded request sequences of Kubernetes' API against a server and says which are answered alike.

    python -m tests.integration.api.replay tests/integration/api/recordings [TOPIC ...] [--tenant] [--show N]
    python -m tests.integration.api.replay tests/integration/api/recordings [TOPIC ...] --write-differences

The second form brings recordings/differences.yaml and docs/api.md up to date: what differs no longer is struck off,
what differs newly is put in as `open` and wants a reason. test_recordings.py holds the server to the list.

A sequence counts only if all that it asks for is served. In a tenant its administrator sends the requests; what only
the provider may do there (a pod's status, which is the agent's) the provider sends to the tenant's path.
"""

import argparse
import asyncio
import hashlib
import re
import secrets
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson
import yaml

from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT, system_tenant_uid
from hypernetes.apiserver import authn, routing
from hypernetes.apiserver.authz import may_ever
from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api import apidocs, differences, recorded
from tests.integration.api.differences import SYSTEM, TENANT
from tests.integration.api.servers import Answer, User, serving

DROPPED = {"message", "description", "warning", "error", "evaluationError", "selfLink", "storageVersionHash"}
PLACEHOLDER = re.compile(r"<(rv|uid|sfx|ip|port|cont|tok|lrv)(\d+)>|<(time|microtime|age|text)>")
PATTERNS = {
    "rv": r"\d+", "lrv": r"\d+", "uid": r"[0-9a-f-]{36}", "sfx": r"[a-z0-9]{5}", "ip": r"[0-9.]+", "port": r"\d+",
    "cont": r".+", "tok": r".+", "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "microtime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", "age": r".+", "text": r".*",
}  # fmt: skip
RECORDED_HOST = "127.0.0.1:16443"  # as whom the recorded server was addressed; discovery repeats it
ROOT_CA = "kube-root-ca.crt"
POLL_SECONDS = 3
SEQUENCE_SECONDS = 60
SIDE_BY_SIDE = 16


class Different(Exception):
    pass


class Sender(Protocol):
    async def __call__(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **query: str
    ) -> Answer: ...


class Administrator:
    """The one of the recordings: user and UID `admin`, known by a token."""

    def __init__(self, nobody: User, tenant: str, tenant_uid: str, tokens: dict[bytes, authn.User]) -> None:
        token = secrets.token_urlsafe()
        self._nobody, self._credential = nobody, {"Authorization": f"Bearer {token}"}
        groups = ("system:masters", "system:authenticated")
        user = authn.User("admin", groups, tenant, tenant_uid, uid="admin")
        tokens[hashlib.sha256(token.encode()).digest()] = user

    async def __call__(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **query: str
    ) -> Answer:
        return await self._nobody(method, path, body, headers={**(headers or {}), **self._credential}, **query)


class InTenant:
    """Sends as the administrator of a tenant what that one may do, and as the provider what nobody else may."""

    def __init__(self, tenant: str, provider: Sender, administrator: Sender) -> None:
        self._root, self._provider, self._administrator = f"/tenants/{tenant}", provider, administrator

    async def __call__(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **query: str
    ) -> Answer:
        try:
            route = routing.parse(method, path, query)
        except StatusError:
            route = None
        if route and route.resource:
            resource = route.resource
            if not may_ever(route.verb, resource.group, resource.name, route.subresource):
                return await self._provider(method, self._root + path, body, headers=headers, **query)
        return await self._administrator(method, path, body, headers=headers, **query)


class Replay:
    """One sequence, with what its placeholders stand for."""

    def __init__(self, user: Sender, anonymous: Sender) -> None:
        self._user, self._anonymous = user, anonymous
        self._bound: dict[str, str] = {}

    async def run(self, sequence: dict[str, Any]) -> None:
        keep = set(sequence.get("keep", ()))
        for number, step in enumerate(sequence["steps"]):
            tries = POLL_SECONDS * 4 if step.get("poll") else 1
            for attempt in range(tries):
                try:
                    await self._step(step, keep)
                    break
                except Different as error:
                    if attempt == tries - 1:
                        raise Different(f"step {number} {step['method']} {step['path']}: {error}") from None
                    await asyncio.sleep(0.25)

    async def _step(self, step: dict[str, Any], keep: set[str]) -> None:
        headers = {"Accept": "application/json", "User-Agent": "replay", "Host": RECORDED_HOST}
        headers |= {key.title(): value for key, value in self._filled(step.get("headers") or {}).items()}
        user = self._anonymous if "Authorization" in headers else self._user
        body = self._filled(step.get("body"))
        data = body.encode() if isinstance(body, str) else None if body is None else orjson.dumps(body)
        query = {key: str(value) for key, value in self._filled(step.get("query") or {}).items()}
        answer = await user(step["method"], self._filled(step["path"]), data, headers=headers, **query)
        expected = step["expect"]
        if answer.status != expected["status"] and not (expected["status"] == 500 and 400 <= answer.status < 500):
            raise Different(f"status {answer.status}, not {expected['status']}: {answer.body[:300]!r}")
        warnings = len(answer.headers.getall("Warning", []))
        if warnings != expected.get("warnings", 0):
            raise Different(f"{warnings} warnings, not {expected.get('warnings', 0)}")
        if "body" not in expected or expected["status"] == 500:
            return
        wanted, got = expected["body"], answer.body
        if answer.status == 200 and (step.get("watch") or set(wanted) == {"events"}):
            told = (orjson.loads(line) for line in got.splitlines())
            found: Any = {"events": [event for each in told if (event := _event(each)) and not _is_of_root_ca(event)]}
        elif expected.get("contentType", "").startswith("application/yaml"):
            found = yaml.safe_load(got)
        else:
            found = orjson.loads(got)
        if step["path"].endswith("/configmaps"):
            found = _without_root_ca(found)
        for name, values in (step.get("pick") or {}).items():
            found = {**found, name: [item for item in found[name] if item.get("name") in values]}
        self._compare(_reduced(wanted, keep), _reduced(found, keep), "")

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._filled(key): self._filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if isinstance(value, str):
            repeated = re.fullmatch(r"<repeat:(.+):(\d+)>", value, re.DOTALL)
            if repeated:
                return repeated[1] * int(repeated[2])
            text = PLACEHOLDER.sub(lambda m: self._bound.get(m[0], m[0]), value)
            return int(text) if text != value and value.startswith("<port") and text.isdecimal() else text
        return value

    def _compare(self, wanted: Any, found: Any, path: str) -> None:
        if isinstance(wanted, dict) and isinstance(found, dict):
            renamed = {self._filled(key): value for key, value in wanted.items()}
            for key in renamed.keys() | found.keys():
                if key not in found or key not in renamed:
                    what = "missing" if key in renamed else f"unexpected {str(found[key])[:100]}"
                    raise Different(f"{path}.{key} {what}")
                self._compare(renamed[key], found[key], f"{path}.{key}")
        elif isinstance(wanted, list) and isinstance(found, list):
            if len(wanted) != len(found):
                raise Different(f"{path} has {len(found)} items, not {len(wanted)}")
            for index, pair in enumerate(zip(wanted, found, strict=True)):
                self._compare(*pair, f"{path}[{index}]")
        elif isinstance(wanted, str) and PLACEHOLDER.search(wanted):
            self._match(wanted, str(found), path)
        elif wanted != found or isinstance(wanted, bool) is not isinstance(found, bool):
            raise Different(f"{path} is {str(found)[:120]!r}, not {str(wanted)[:120]!r}")

    def _match(self, wanted: str, found: str, path: str) -> None:
        pattern, last, names = "", 0, []
        for match in PLACEHOLDER.finditer(wanted):
            pattern += re.escape(wanted[last : match.start()])
            bound = self._bound.get(match[0])
            if bound is not None and match[1] != "lrv":
                pattern += re.escape(bound)
            else:
                pattern += f"({PATTERNS[match[1] or match[3]]})"
                names.append(match[0] if match[1] else "")
            last = match.end()
        fits = re.fullmatch(pattern + re.escape(wanted[last:]), found, re.DOTALL)
        if fits is None:
            raise Different(f"{path} is {found[:100]!r}, not {wanted!r}")
        for name, value in zip(names, fits.groups(), strict=True):
            if (
                name
                and name.startswith(("<rv", "<uid"))
                and value in (other for key, other in self._bound.items() if key[:3] == name[:3])
            ):
                raise Different(f"{path}: {name} is the same as another")
            if name:
                self._bound[name] = value


def _event(event: dict[str, Any]) -> dict[str, Any] | None:
    obj, kind = event["object"], event["object"].get("kind")
    if kind == "Status":
        return event
    if kind == "Table":
        rows = [row["object"]["metadata"]["name"] for row in obj["rows"] if row["object"]["metadata"].get("name")]
        return {"type": event["type"], "object": {"kind": kind, "columns": len(obj["columnDefinitions"]), "rows": rows}}
    metadata = obj["metadata"]
    if event["type"] == "BOOKMARK":
        if not metadata.get("annotations"):
            return None
        return {"type": "BOOKMARK", "object": {"kind": kind, "annotations": metadata["annotations"]}}
    shown = {"kind": kind, "name": metadata["name"], "resourceVersion": metadata["resourceVersion"]}
    return {"type": event["type"], "object": shown}


def _is_of_root_ca(event: dict[str, Any]) -> bool:
    obj = event["object"]
    return obj.get("name") == ROOT_CA or obj.get("rows") == [ROOT_CA]


def _without_root_ca(found: Any) -> Any:
    """An answer with ConfigMaps without the one of each namespace that upstream's controllers write, which the recorded
    server had none of."""
    name = next((each for each in ("items", "rows") if isinstance(found, dict) and found.get(each)), "")
    if not name:
        return found
    listed, metadata = found[name], found["metadata"]
    kept = [each for each in listed if _name(each) != ROOT_CA]
    if metadata.get("remainingItemCount") and _name(listed[-1]) < ROOT_CA:
        metadata = {**metadata, "remainingItemCount": metadata["remainingItemCount"] - 1}
    nothing = None if found["kind"] == "PartialObjectMetadataList" else []
    return {**found, "metadata": metadata, name: kept or nothing}


def _name(item: dict[str, Any]) -> str:
    """Of an object, or of a table's row, which may have none."""
    metadata = (item.get("object") or item).get("metadata") or {}
    return str(metadata.get("name") or next(iter(item.get("cells") or ()), ""))


def _reduced(value: Any, keep: set[str]) -> Any:
    if isinstance(value, list):
        return [_reduced(item, keep) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "Status" and "status" in value:
        details = value.get("details") or {}
        causes = sorted((c.get("field", ""), c.get("reason", "")) for c in details.get("causes") or ())
        shown = {key: details[key] for key in ("kind", "group", "name", "retryAfterSeconds") if details.get(key)}
        kept = {key: value[key] for key in ("kind", "apiVersion", "status", "reason", "code") if value.get(key)}
        return {**kept, "details": {**shown, **({"causes": causes} if causes else {})}}
    if str(value.get("kind")).endswith("AccessReview") and "status" in value:
        value = {**value, "status": {key: item for key, item in value["status"].items() if key != "reason"}}
    dropped = DROPPED if "managedFields" in keep else DROPPED | {"managedFields"}
    reduced = {key: _reduced(item, keep) for key, item in value.items() if key not in dropped}
    if "managedFields" in reduced:
        reduced["managedFields"] = sorted(reduced["managedFields"], key=_manager)
    return reduced


def _manager(entry: dict[str, Any]) -> tuple[str, ...]:
    """Upstream orders them by the second of their last change, so their order is an accident."""
    return (*(entry.get(key, "") for key in ("manager", "operation", "subresource", "apiVersion")), str(entry))


@dataclass(frozen=True, slots=True)
class Result:
    topic: str
    id: str
    case: str
    difference: str  # "" for none


async def replay(recordings: Path, topic: str, where: str) -> list[Result]:
    """Each sequence of a topic that is served, against a server of its own; `where` is SYSTEM or TENANT."""
    sequences = recorded.sequences(recordings, topic, where)
    with tempfile.TemporaryDirectory() as directory:
        store = await open_store(str(Path(directory) / "state.db"))
        async with AsyncExitStack() as stack:
            stack.push_async_callback(store.close)
            tokens: dict[bytes, authn.User] = {}
            admin = await stack.enter_async_context(serving(store, Path(directory), "replay", tokens))
            anonymous = await stack.enter_async_context(admin.anonymous())
            sender: Sender = Administrator(anonymous, SYSTEM_TENANT, system_tenant_uid("replay"), tokens)
            if where == TENANT:
                await stack.enter_async_context(await admin.tenant(TENANT))
                uid = (await admin("GET", f"/apis/hypernetes.io/v1/tenants/{TENANT}")).json["metadata"]["uid"]
                sender = InTenant(TENANT, admin, Administrator(anonymous, TENANT, uid, tokens))
            return await _all(sequences, sender, anonymous)


async def _all(sequences: list[dict[str, Any]], sender: Sender, anonymous: Sender) -> list[Result]:
    """Side by side, and then one by one those that change what all others would see."""
    free = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(sequence: dict[str, Any]) -> Result:
        async with free:
            difference = await _difference(sequence, Replay(sender, anonymous))
        return Result(sequence["topic"], sequence["id"], sequence["case"], difference)

    results = await asyncio.gather(*(one(each) for each in sequences if not each.get("exclusive")))
    return [*results, *[await one(each) for each in sequences if each.get("exclusive")]]


async def _difference(sequence: dict[str, Any], run: Replay) -> str:
    try:
        async with asyncio.timeout(SEQUENCE_SECONDS):
            await run.run(sequence)
    except Different as error:
        return str(error)
    except (KeyError, TypeError, ValueError) as error:
        return f"the answer has another form: {error!r}"
    except TimeoutError:
        return "it took too long"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("topics", nargs="*")
    parser.add_argument("--show", type=int, default=0, help="differences to print per topic")
    parser.add_argument("--tenant", action="store_true", help="in a tenant, not in that of the provider")
    parser.add_argument("--write-differences", action="store_true", help="in both; writes them down")
    arguments = parser.parse_args()
    topics = arguments.topics or recorded.topics(arguments.recordings)
    places = (SYSTEM, TENANT) if arguments.write_differences else (TENANT if arguments.tenant else SYSTEM,)
    file = arguments.recordings / differences.FILE
    listed = differences.read(file)
    for topic in topics:
        for where in places:
            results = asyncio.run(replay(arguments.recordings, topic, where))
            different = [each for each in results if each.difference]
            for each in different[: arguments.show]:
                print(f"{each.id} {each.case}: {each.difference}")
            print(f"{topic:20} {where:8} {len(results) - len(different):4} of {len(results)}")
            listed = differences.replaced(listed, topic, where, {each.id: each.case for each in different})
    if arguments.write_differences:
        differences.write(file, listed)
        apidocs.write_differences(listed)


if __name__ == "__main__":
    main()
