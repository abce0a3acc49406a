"""NamespaceLifecycle: nothing is created in a namespace that isn't there or is ending, and three namespaces stay.

Beyond upstream: a namespace with pods keeps its network, since theirs can't be changed any more.
"""

from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.api.status import StatusError, invalid, not_found
from hypernetes.api.tenancy import DEFAULT_NETWORK
from hypernetes.apiserver import validation
from hypernetes.apiserver.admission.request import CREATE, DELETE, UPDATE, Plugin, Request
from hypernetes.apiserver.mirror import Entry

Object = dict[str, Any]

_NAMESPACES = scheme.by_name("v1", "namespaces")
_PODS = scheme.by_name("v1", "pods")
_KEPT = ("default", "kube-system", "kube-public")


def admit(request: Request) -> None:
    """Raises StatusError: 404 without the namespace, 403 in one that ends."""
    if not request.resource.namespaced:
        return
    entry = request.seen.entry(_NAMESPACES, "", request.namespace)
    if entry is None:
        raise not_found("namespaces", request.namespace)
    if _ends(entry):
        raise _terminating(request)


def _ends(entry: Entry) -> bool:
    if b'"deletionTimestamp"' not in entry.data:
        return False
    return "deletionTimestamp" in orjson.loads(entry.data)["metadata"]


def _terminating(request: Request) -> StatusError:
    namespace = request.namespace
    refused = request.forbidden(f"unable to create new content in namespace {namespace} because it is being terminated")
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    return StatusError("Forbidden", refused.message, causes=[cause], details=refused.details)


def check_deletion(request: Request) -> None:
    if request.name in _KEPT:
        raise request.forbidden("this namespace may not be deleted")


def check_network(request: Request) -> None:
    new, old = request.obj, request.old
    before, after = (obj.get("spec", {}).get("network") or DEFAULT_NETWORK for obj in (old, new))
    if before == after or not request.seen.entries(_PODS, new["metadata"]["name"]):
        return
    causes = validation.forbidden("spec.network", "may not change while the namespace has pods")
    raise invalid("", "Namespace", new["metadata"]["name"], causes)


PLUGIN = Plugin("NamespaceLifecycle", None, (CREATE,), mutate=admit)
KEPT_NAMESPACES = Plugin("NamespaceLifecycle", (("", "namespaces"),), (DELETE,), validate=check_deletion)
NETWORK_OF_PODS = Plugin("NamespaceNetwork", (("", "namespaces"),), (UPDATE,), validate=check_network)
