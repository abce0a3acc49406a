"""Patches give what upstream's API server gave: the same object, or the same refusal."""

import json

from hypernetes.api.status import StatusError
from hypernetes.apiserver import patch, schema

_SERVER_OWNED = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "deletionTimestamp")
# What is refused for reasons that lie outside of the patch: identity, validation, request options.
_STRATEGIES = {
    (name, number)
    for name, numbers in {
        "a-pat-0005": [0, 1, 4, 5, 7, 8],
        "a-pat-0007": [8, 9],
        "a-pat-0008": [2, 3, 5],
        "a-pat-0012": [2],
        "a-pat-0016": [3, 6],
        "a-pat-0018": [2],
        "a-pat-0020": [3],
        "a-pat-0021": [6, 7],
        "a-pat-0022": [1],
    }.items()
    for number in numbers
}


def _clean(obj):
    obj = json.loads(json.dumps(obj))
    for key in _SERVER_OWNED:
        obj["metadata"].pop(key, None)
    return obj


def _readable(obj):
    """With times instead of their masks."""
    return json.loads(json.dumps(obj).replace('"<time>"', '"2020-01-01T00:00:00Z"'))


def _patched(step, stored):
    kind = schema.for_kind(stored["apiVersion"], stored["kind"])
    body = step["body"] if isinstance(step["body"], str) else json.dumps(step["body"])
    mode = step.get("query", {}).get("fieldValidation", "Warn")
    try:
        raw = patch.apply(step["headers"]["content-type"], _readable(stored), body.encode(), kind)
        obj, warnings = patch.decode(kind, raw, mode)
        kind.default(obj)
        if kind.validate(obj):
            return 422, None, 0
    except StatusError as error:
        return error.code, error.to_dict(), 0
    return 200, obj, len(warnings)


def test_patches_do_what_upstream_does(recordings):
    compared, left = 0, set()
    for sequence in recordings("patches"):
        stored, number = None, -1
        for step in sequence["steps"]:
            expected = step["expect"]
            answer = expected.get("body")
            if step["method"] == "PATCH" and stored is not None and expected["status"] != 404:
                number += 1
                code, obj, warnings = _patched(step, stored)
                where = (sequence["id"], number, step["body"], obj)
                if expected["status"] == 200:
                    assert code == 200, where
                    assert _clean(obj) == _clean(answer), where
                    assert warnings == expected.get("warnings", 0), where
                elif expected["status"] == 500:
                    assert 400 <= code < 500, where
                elif code == 200:
                    assert expected["status"] in (400, 409, 422), where
                    left.add((sequence["id"], number))
                else:
                    assert code == expected["status"], where
                compared += 1
            if expected["status"] < 300 and isinstance(answer, dict) and "metadata" in answer:
                stored = answer
    assert compared >= 90
    known = {sequence["id"] for sequence in recordings("patches")}
    assert left == {(name, number) for name, number in _STRATEGIES if name in known}
