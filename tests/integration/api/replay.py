"""Replays recorded request sequences of Kubernetes' API against a server and says which are answered alike.

    python -m tests.integration.api.replay RECORDINGS_DIR [TOPIC ...] [--show N]

A sequence counts only if all that it asks for is served. The rules of comparison are those in the recordings' README.
"""

import argparse
import asyncio
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import yaml

from hypernetes.api.status import StatusError
from hypernetes.apiserver import routing
from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api.servers import User, serving

DROPPED = {"message", "description", "warning", "error", "evaluationError", "selfLink", "storageVersionHash"}
PLACEHOLDER = re.compile(r"<(rv|uid|sfx|ip|port|cont|tok|lrv)(\d+)>|<(time|microtime|age|text)>")
PATTERNS = {
    "rv": r"\d+", "lrv": r"\d+", "uid": r"[0-9a-f-]{36}", "sfx": r"[a-z0-9]{5}", "ip": r"[0-9.]+", "port": r"\d+",
    "cont": r".+", "tok": r".+", "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "microtime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", "age": r".+", "text": r".*",
}  # fmt: skip
POLL_SECONDS = 3


class Different(Exception):
    pass


def is_served(sequence: dict[str, Any]) -> bool:
    """Whether each resource it asks for is served, but for those that upstream doesn't serve either."""
    for step in sequence["steps"]:
        try:
            routing.parse(step["method"], PLACEHOLDER.sub("x", step["path"]), {})
        except StatusError:
            if step["expect"]["status"] != 404:
                return False
    return True


class Replay:
    """One sequence, with what its placeholders stand for."""

    def __init__(self, user: User) -> None:
        self._user = user
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
        headers = {"Accept": "application/json", "User-Agent": "replay", **self._filled(step.get("headers") or {})}
        headers = {key.title(): value for key, value in headers.items() if key.lower() != "authorization"}
        body = self._filled(step.get("body"))
        data = body.encode() if isinstance(body, str) else None if body is None else orjson.dumps(body)
        query = {key: str(value) for key, value in self._filled(step.get("query") or {}).items()}
        answer = await self._user(step["method"], self._filled(step["path"]), data, headers=headers, **query)
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
            found: Any = {"events": [event for line in got.splitlines() if (event := _event(orjson.loads(line)))]}
        elif expected.get("contentType", "").startswith("application/yaml"):
            found = yaml.safe_load(got)
        else:
            found = orjson.loads(got)
        for name, values in (step.get("pick") or {}).items():
            found = {**found, name: [item for item in found[name] if item.get("name") in values]}
        self._compare(_reduced(wanted, keep), _reduced(found, keep), "")

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._filled(key): self._filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if isinstance(value, str):
            repeated = re.fullmatch(r"<repeat:(.):(\d+)>", value, re.DOTALL)
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
    dropped = DROPPED if "managedFields" in keep else DROPPED | {"managedFields"}
    return {key: _reduced(item, keep) for key, item in value.items() if key not in dropped}


async def replay(recordings: Path, topics: list[str]) -> list[tuple[str, str, str, str]]:
    """(topic, id, case, what differs: "" for nothing) of each sequence that is served."""
    results = []
    with tempfile.TemporaryDirectory() as directory:
        store = await open_store(str(Path(directory) / "state.db"))
        async with serving(store, Path(directory), "replay") as admin:
            for file in sorted(recordings.glob("*.jsonl")):
                if topics and file.stem not in topics:
                    continue
                for line in file.read_bytes().splitlines():
                    sequence = orjson.loads(line)
                    if not is_served(sequence):
                        continue
                    try:
                        await Replay(admin).run(sequence)
                        difference = ""
                    except Different as error:
                        difference = str(error)
                    except (KeyError, TypeError, ValueError) as error:
                        difference = f"the answer has another form: {error!r}"
                    results.append((file.stem, sequence["id"], sequence["case"], difference))
        await store.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("topics", nargs="*")
    parser.add_argument("--show", type=int, default=0, help="differences to print per topic")
    arguments = parser.parse_args()
    results = asyncio.run(replay(arguments.recordings, arguments.topics))
    shown: Counter[str] = Counter()
    for topic, identity, case, difference in results:
        if difference and shown[topic] < arguments.show:
            shown[topic] += 1
            print(f"{identity} {case}: {difference}")
    for topic in sorted({result[0] for result in results}):
        passed = [not result[3] for result in results if result[0] == topic]
        print(f"{topic:20} {sum(passed):4} of {len(passed)}")


if __name__ == "__main__":
    main()
