"""What a new object must meet, and is given, beyond its own kind's rules.

namespaces.py       its namespace is there and isn't ending
serviceaccounts.py  a pod has a service account, and its token
pods.py             tolerations and priority that every pod has
"""

from typing import TYPE_CHECKING, Any

from hypernetes.apiserver.admission import namespaces, pods, serviceaccounts

if TYPE_CHECKING:
    from hypernetes.apiserver.handlers.context import Call

__all__ = ["admit"]


async def admit(call: "Call", obj: dict[str, Any]) -> None:
    """Completes a new object in place. Raises StatusError where it may not be."""
    if call.resource.namespaced:
        await namespaces.admit(call, obj["metadata"]["name"])
    if call.resource.stored.name == "pods":
        await serviceaccounts.admit(call, obj)
        pods.complete(obj["spec"])
