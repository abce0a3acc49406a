"""PodTolerationRestriction: a namespace's annotations add tolerations to its pods, and bound those they may have.

`scheduler.alpha.kubernetes.io/defaultTolerations` and `…/tolerationsWhitelist` hold JSON lists of tolerations.
"""

from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.apiserver.admission.request import CREATE, UPDATE, Plugin, Request

Object = dict[str, Any]

_NAMESPACES = scheme.by_name("v1", "namespaces")
_PREFIX = "scheduler.alpha.kubernetes.io/"
DEFAULTS, ALLOWED = f"{_PREFIX}defaultTolerations", f"{_PREFIX}tolerationsWhitelist"


def complete(request: Request) -> None:
    """A pod's own toleration of a taint goes before the namespace's; both of one taint must agree."""
    defaults = _list(request, DEFAULTS)
    if not defaults:
        return
    present = request.obj["spec"].get("tolerations") or []
    for toleration in defaults:
        conflicting = [other for other in present if _taint(other) == _taint(toleration) and other != toleration]
        if conflicting and request.operation == CREATE:
            raise request.forbidden(
                "namespace tolerations and pod tolerations conflict: "
                f"{orjson.dumps(toleration).decode()} and {orjson.dumps(conflicting[0]).decode()}"
            )
    added = [toleration for toleration in defaults if all(_taint(other) != _taint(toleration) for other in present)]
    if added:
        request.obj["spec"]["tolerations"] = [*present, *added]


def validate(request: Request) -> None:
    allowed = _list(request, ALLOWED)
    if not allowed:
        return
    for toleration in request.obj["spec"].get("tolerations") or ():
        if not any(covers(each, toleration) for each in allowed):
            raise request.forbidden("pod tolerations conflict with its namespace whitelist")


def covers(wide: Object, narrow: Object) -> bool:
    """Whether what `narrow` tolerates, `wide` tolerates too, and as long."""
    if wide.get("key") and wide.get("key") != narrow.get("key"):
        return False
    if wide.get("effect") and wide.get("effect") != narrow.get("effect"):
        return False
    limit, asked = wide.get("tolerationSeconds"), narrow.get("tolerationSeconds")
    if wide.get("effect") == "NoExecute" and limit is not None and (asked is None or asked > limit):
        return False
    if (wide.get("operator") or "Equal") == "Exists":
        return True
    same_operator = (narrow.get("operator") or "Equal") == "Equal"
    return same_operator and (wide.get("value") or "") == (narrow.get("value") or "")


def _taint(toleration: Object) -> tuple[Any, ...]:
    operator = toleration.get("operator") or "Equal"
    return toleration.get("key"), toleration.get("effect"), operator, toleration.get("value")


def _list(request: Request, annotation: str) -> list[Object]:
    """Raises StatusError where the annotation can't be read: then nobody knows what the pod may."""
    entry = request.seen.entry(_NAMESPACES, "", request.namespace)
    if entry is None or annotation.encode() not in entry.data:
        return []
    text = (orjson.loads(entry.data)["metadata"].get("annotations") or {}).get(annotation)
    if not text:
        return []
    try:
        found = orjson.loads(text)
    except ValueError as error:
        raise _unreadable(request, annotation) from error
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise _unreadable(request, annotation)
    return found


def _unreadable(request: Request, annotation: str) -> StatusError:
    return request.forbidden(f"annotation {annotation} of the namespace is no JSON list of tolerations")


PLUGIN = Plugin("PodTolerationRestriction", (("", "pods"),), (CREATE, UPDATE), mutate=complete, validate=validate)
