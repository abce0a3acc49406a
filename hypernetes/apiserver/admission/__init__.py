"""What an object must meet, and a new one is given, beyond its own kind's rules: upstream's plugins, in its order.

             ┌─ mutate, each in turn ─┐                      ┌─ validate, each in turn ─┐
    object ──┴────────────────────────┴─ the kind's own rules ┴──────────────────────────┴─ write

One module a plugin, named as upstream names it. ResourceQuota comes last and belongs to the write itself, since usage
is counted in the same transaction: quota/ decides, handlers/quotas.py writes.
"""

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from hypernetes.api.scheme import Resource
from hypernetes.api.status import StatusError
from hypernetes.apiserver.admission import (
    certificateapproval,
    certificatesubjectrestriction,
    defaultingressclass,
    defaultstorageclass,
    defaulttolerationseconds,
    limitranger,
    namespacelifecycle,
    noderestriction,
    persistentvolumeclaimresize,
    poddefaults,
    podsecurity,
    podtolerationrestriction,
    priority,
    privilegeescalation,
    runtimeclass,
    serviceaccount,
    storageobjectinuseprotection,
    taintnodesbycondition,
    tenantlifecycle,
)
from hypernetes.apiserver.admission.request import CREATE, DELETE, UPDATE, Hook, Plugin, Request, Seen

if TYPE_CHECKING:
    from hypernetes.apiserver.handlers.context import Call

__all__ = [
    "CREATE", "DELETE", "ORDER", "UPDATE", "Request", "admit", "check", "complete", "prepare", "relied_on", "request",
]  # fmt: skip

ORDER: tuple[Plugin, ...] = (
    namespacelifecycle.PLUGIN,
    namespacelifecycle.KEPT_NAMESPACES,
    namespacelifecycle.NETWORK_OF_PODS,
    tenantlifecycle.PROTECTION,
    tenantlifecycle.STARTS,
    limitranger.PODS,
    limitranger.RESIZED_PODS,
    poddefaults.PLUGIN,
    limitranger.CLAIMS,
    serviceaccount.PLUGIN,
    noderestriction.PLUGIN,
    taintnodesbycondition.PLUGIN,
    podsecurity.NAMESPACES,
    podsecurity.PODS,
    podsecurity.TEMPLATES,
    priority.PLUGIN,
    priority.ONE_DEFAULT_CLASS,
    priority.SYSTEM_CLASSES_STAY,
    defaulttolerationseconds.PLUGIN,
    podtolerationrestriction.PLUGIN,
    defaultstorageclass.PLUGIN,
    storageobjectinuseprotection.PLUGIN,
    persistentvolumeclaimresize.PLUGIN,
    runtimeclass.PLUGIN,
    certificateapproval.APPROVAL,
    certificateapproval.SIGNING,
    certificatesubjectrestriction.PLUGIN,
    defaultingressclass.PLUGIN,
    privilegeescalation.ROLES,
    privilegeescalation.BINDINGS,
)
# Kinds whose updates depend on other objects: the mirror must be up to date before they are decided.
_LOOK_AROUND = frozenset(
    {"Namespace", "PersistentVolumeClaim", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
)


# What plugins go by.
_RULES = frozenset(
    {
        "IngressClass",
        "LimitRange",
        "Namespace",
        "PriorityClass",
        "ResourceQuota",
        "RuntimeClass",
        "StorageClass",
        "Tenant",
    }
)


def request(
    call: "Call", operation: str, obj: dict[str, Any] | None, old: dict[str, Any] | None = None, name: str = ""
) -> Request:
    """A write as plugins see it. What they warn of is sent with the answer."""
    name = name or call.route.name or ((obj or {}).get("metadata") or {}).get("name", "")
    return Request(
        operation, call.resource.stored, call.route.subresource, call.route.namespace, name, call.user,
        Seen(call.parts.mirror, call.one_tenant), obj or {}, old or {}, call.warnings,
        call.parts.authorizer,
    )  # fmt: skip


async def admit(call: "Call", asked: Request, *, validating: bool = False) -> None:
    """Completes a new object in place or, once that is valid, has the last word on it. Raises StatusError.

    A refusal may come of a mirror that hasn't heard of an object yet: it counts if it is the same on a fresh one.
    """
    run = check if validating else complete
    revision = call.parts.mirror.revision
    try:
        run(asked)
    except StatusError:
        await call.parts.freshness.now()
        if call.parts.mirror.revision == revision:
            raise
        run(asked)


def complete(asked: Request) -> None:
    """The plugins' changes to an object. Raises StatusError."""
    for hook in _hooks(asked.resource, asked.subresource, asked.operation, validating=False):
        hook(asked)


def check(asked: Request) -> None:
    """The plugins' refusals. Raises StatusError."""
    for hook in _hooks(asked.resource, asked.subresource, asked.operation, validating=True):
        hook(asked)


@cache
def _hooks(resource: Resource, subresource: str, operation: str, *, validating: bool) -> tuple[Hook, ...]:
    concerned = [plugin for plugin in ORDER if plugin.concerns(resource, subresource, operation)]
    hooks = [plugin.validate if validating else plugin.mutate for plugin in concerned]
    return tuple(hook for hook in hooks if hook is not None)


async def relied_on(call: "Call", revision: int) -> None:
    """Returns when this server's admission sees a write: whoever has the answer can rely on the new rules.

    Where the mirror lags for long, the answer doesn't wait for it: the write has happened.
    """
    if call.resource.kind in _RULES:
        with suppress(StatusError):
            await call.parts.freshness.at_least(revision)


async def prepare(call: "Call") -> None:
    """Waits until what the plugins look at in an update is known. Raises StatusError."""
    if call.resource.kind in _LOOK_AROUND:
        await call.parts.freshness.now()
