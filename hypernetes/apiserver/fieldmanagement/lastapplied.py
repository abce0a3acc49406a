"""kubectl's own record of what it applied last, from before the server kept that: the annotation of client-side apply.

Who goes over to server-side apply has no conflict about what that record says and still is so; and the record is kept
up to date for whoever goes back.
"""

from typing import Any

import orjson

from hypernetes.apiserver.fieldmanagement import comparing, configurations, fieldsets
from hypernetes.apiserver.fieldmanagement.elements import Unsuitable
from hypernetes.apiserver.fieldmanagement.updating import Versions

Object = dict[str, Any]

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
_MAX_BYTES = 256 * 1024  # of all annotations of an object, as upstream


def kept(live: Object, versions: Versions) -> frozenset[tuple[str, ...]]:
    """The fields that were applied last and are as they were applied."""
    try:
        record = orjson.loads(_record(live))
        if not isinstance(record, dict) or record.get("apiVersion") != versions.api_version:
            return frozenset()
        configurations.check(record, versions.built)
        found = comparing.compare(record, live, versions.built)
        fields = configurations.fields_of(record, versions.built)
    except (ValueError, Unsuitable):
        return frozenset()
    for changed in (found.modified, found.added, found.removed):
        fields = fieldsets.difference(fields, changed)
    return frozenset(fieldsets.paths(fields))


def noted(live: Object | None, new: Object | None, config: Object) -> Object | None:
    """The object after an apply, with its record, where it has one, telling of this configuration."""
    obj = live if new is None else new
    if obj is None or not _record(obj):
        return new
    metadata = config.get("metadata") or {}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != ANNOTATION}
    said = {**config, "metadata": {**metadata, "annotations": annotations}}
    if not annotations:
        del said["metadata"]["annotations"]
    record = orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    if record == _record(obj):
        return new
    own = obj["metadata"]
    own_annotations = {**own["annotations"], ANNOTATION: record}
    if sum(len(key) + len(value.encode()) for key, value in own_annotations.items()) > _MAX_BYTES:
        own_annotations[ANNOTATION] = ""  # as upstream: no record rather than too long a one
    return {**obj, "metadata": {**own, "annotations": own_annotations}}


def _record(obj: Object) -> str:
    record = ((obj.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION)
    return record if isinstance(record, str) else ""
