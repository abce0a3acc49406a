"""The recordings, and which of their sequences count: those that ask for nothing that isn't served."""

import re
from pathlib import Path
from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.apiserver import discovery, routing
from tests.integration.api.differences import TENANT

RECORDINGS = Path(__file__).parent / "recordings"
NODES = scheme.by_name("v1", "nodes")
_OF_NODES = (
    NODES,
    scheme.by_name("storage.k8s.io/v1", "csinodes"),
    scheme.by_name("storage.k8s.io/v1", "volumeattachments"),
)  # the provider's
_LATER = frozenset({"customresources"})  # topics of what is not served yet
_SERVED_GROUPS = frozenset(resource.group for resource in scheme.served())
_PLACEHOLDER = re.compile(r"<[a-z]+\d*>")


def topics(recordings: Path = RECORDINGS) -> list[str]:
    return sorted(file.stem for file in recordings.glob("*.jsonl") if file.stem not in _LATER)


def sequences(recordings: Path, topic: str, where: str) -> list[dict[str, Any]]:
    """Those of a topic that count; `where` is differences.SYSTEM or TENANT."""
    lines = (recordings / f"{topic}.jsonl").read_bytes().splitlines()
    return [each for each in map(orjson.loads, lines) if is_served(each, where)]


def is_served(sequence: dict[str, Any], where: str) -> bool:
    """Whether each resource it asks for is served there, but for those that upstream doesn't serve either."""
    for step in sequence["steps"]:
        path = _PLACEHOLDER.sub("x", step["path"])
        if not _SERVED_GROUPS.issuperset((step.get("pick") or {}).get("groups", ())):
            return False
        if step["expect"]["status"] == 404:
            continue
        try:
            route = routing.parse(step["method"], path, {})
        except StatusError:
            return False
        if (
            route.resource is None
            and path.startswith("/apis/")
            and discovery.built_in().group(path.split("/")[2]) is None
        ):
            return False
        if where == TENANT and route.resource in _OF_NODES and route.verb in ("create", "update", "patch", "delete"):
            return False
    return True
