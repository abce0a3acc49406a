"""The default among the classes of a tenant: the one that is annotated so; of several the newest, then by name.

Of kinds that the provider shares with all tenants, its default counts where the tenant marks none of its own.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from hypernetes.api.scheme import Resource
from hypernetes.apiserver import sharednames
from hypernetes.apiserver.admission.request import Seen
from hypernetes.apiserver.mirror import Entry

Object = dict[str, Any]


def default_class(seen: Seen, classes: Resource, annotations: tuple[str, ...]) -> str | None:
    """Its name, if there is one. `annotations`: each marks a default by the value "true"."""
    own = seen.entries(classes)
    found = _default(own, annotations)
    if found is None and sharednames.has_shared(classes.group, classes.name):
        hidden = {entry.name.name for entry in own if entry.name is not None}
        shared = (each for each in seen.provider.entries(classes) if each.name and each.name.name not in hidden)
        found = _default(shared, annotations)
    return found


def _default(entries: Iterable[Entry], annotations: tuple[str, ...]) -> str | None:
    marked = []
    for entry in entries:
        if b'"true"' not in entry.data:
            continue
        metadata = orjson.loads(entry.data)["metadata"]
        if any((metadata.get("annotations") or {}).get(name) == "true" for name in annotations):
            marked.append(metadata)
    marked.sort(key=lambda metadata: metadata["name"])
    marked.sort(key=lambda metadata: metadata["creationTimestamp"], reverse=True)
    return marked[0]["name"] if marked else None
