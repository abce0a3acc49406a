"""What an object must meet, and a new one is given, beyond its own kind's rules.

namespaces.py       its namespace is there and isn't ending; a namespace with pods keeps its network
serviceaccounts.py  a pod has a service account, and its token
pods.py             tolerations and priority that every pod has
"""

from typing import TYPE_CHECKING, Any

from hypernetes.apiserver.admission import namespaces, pods, serviceaccounts
from hypernetes.apiserver.validation import Causes

if TYPE_CHECKING:
    from hypernetes.apiserver.handlers.context import Call

__all__ = ["admit", "check_update", "prepare_update"]


async def admit(call: "Call", obj: dict[str, Any]) -> None:
    """Completes a new object in place. Raises StatusError where it may not be."""
    if call.resource.namespaced:
        await namespaces.admit(call, obj["metadata"]["name"])
    if call.resource.stored.name == "pods":
        await serviceaccounts.admit(call, obj)
        pods.complete(obj["spec"])


async def prepare_update(call: "Call") -> None:
    """Waits until what `check_update` looks at is known. Raises StatusError."""
    if call.resource.kind == "Namespace":
        await call.parts.freshness.now()


def check_update(call: "Call", new: dict[str, Any], old: dict[str, Any]) -> Causes:
    """What other objects have against a change."""
    return namespaces.check_network(call, new, old) if call.resource.kind == "Namespace" else []
