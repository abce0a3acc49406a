"""The default among the classes of a tenant: the one that is annotated so; of several the newest, then by name."""

from typing import Any

import orjson

from hypernetes.api.scheme import Resource
from hypernetes.apiserver.admission.request import Seen

Object = dict[str, Any]


def default_class(seen: Seen, classes: Resource, annotations: tuple[str, ...]) -> str | None:
    """Its name, if there is one. `annotations`: each marks a default by the value "true"."""
    marked = []
    for entry in seen.entries(classes):
        if b'"true"' not in entry.data:
            continue
        metadata = orjson.loads(entry.data)["metadata"]
        if any((metadata.get("annotations") or {}).get(name) == "true" for name in annotations):
            marked.append(metadata)
    marked.sort(key=lambda metadata: metadata["name"])
    marked.sort(key=lambda metadata: metadata["creationTimestamp"], reverse=True)
    return marked[0]["name"] if marked else None
