"""The end of a namespace: its content is deleted, then its finalizer `kubernetes` is taken away, and it is gone.

The conditions are upstream's, so that `kubectl describe` says what it waits for.
"""

from typing import Any

from hypernetes.api import scheme, times
from hypernetes.api.models.core_v1 import Namespace, NamespaceCondition
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.client.metadata import Item, PartialObject
from hypernetes.client.rest import delete_options
from hypernetes.controllers import contents
from hypernetes.controllers.contents import Remains
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers, namespace_index

FINALIZER = "kubernetes"
_LAG_SECONDS = 0.1  # until the stream of metadata has caught up
_LOOK_AGAIN = 2.0  # seconds; pods take their time to stop


def conditions(namespace: Namespace, remains: Remains, stamp: str) -> list[NamespaceCondition]:
    """All five, each with the time at which it last changed."""
    deletion_error = "; ".join(remains.errors)
    wanted = [
        ("NamespaceDeletionDiscoveryFailure", "", "ResourcesDiscovered", "All resources successfully discovered", ""),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "", "ParsedGroupVersions", "All legacy kube types successfully parsed", "",
        ),
        (
            "NamespaceDeletionContentFailure",
            deletion_error, "ContentDeleted", "All content successfully deleted, may be waiting on finalization",
            "ContentDeletionFailed",
        ),
        (
            "NamespaceContentRemaining",
            remains.content_message() if remains.counts else "",
            "ContentRemoved", "All content successfully removed", "SomeResourcesRemain",
        ),
        (
            "NamespaceFinalizersRemaining",
            remains.finalizer_message() if remains.finalizers else "",
            "ContentHasNoFinalizers", "All content-preserving finalizers finished", "SomeFinalizersRemain",
        ),
    ]  # fmt: skip
    former = {entry.type: entry for entry in namespace.status.conditions}
    result = [entry for entry in namespace.status.conditions if entry.type not in {row[0] for row in wanted}]
    for type, problem, good_reason, good_message, bad_reason in wanted:
        status = "True" if problem else "False"
        old = former.get(type)
        since = old.last_transition_time if old is not None and old.status == status else stamp
        result.append(
            NamespaceCondition(
                type=type, status=status, reason=bad_reason if problem else good_reason,
                message=problem or good_message, last_transition_time=since,
            )
        )  # fmt: skip
    return result


class Namespaces(Controller):
    name = "namespace"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._namespaces = informers.of(Namespace)
        self._namespaces.on_change(self._changed)
        self._objects = informers.metadata()
        self._objects.on_change(self._content_changed)
        self._resources = contents.deletable(namespaced=True)

    def _changed(self, key: Key, old: Namespace | None, new: Namespace | None) -> None:
        if new is not None and new.metadata.deletion_timestamp is not None:
            self.queue.add(key)

    def _content_changed(self, item: Item, old: PartialObject | None, new: PartialObject | None) -> None:
        """What goes may have been the last; while there are others, looking at all of them now and then will do."""
        if new is None and item.key.namespace:
            if self._objects.index_size("namespace", namespace_index(item.key.tenant, item.key.namespace)):
                return
            key = Key(item.key.tenant, "", item.key.namespace)
            namespace = self._namespaces.get(key)
            if namespace is not None and namespace.metadata.deletion_timestamp is not None:
                self.queue.add(key)

    async def _empty(self, key: Key) -> Remains:
        found = self._objects.index_keys("namespace", namespace_index(key.tenant, key.name))
        known = [(item, obj) for item in found if (obj := self._objects.get(item)) is not None]
        remains = await contents.delete_known(self.client, key, known)
        if known:
            return remains
        return await contents.empty(self.client, key.tenant, key.name, self._resources)

    async def reconcile(self, key: Key) -> float | None:
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp is None:
            return None
        if FINALIZER in namespace.spec.finalizers:
            if int(self._objects.resource_version or 0) < int(namespace.metadata.resource_version or 0):
                return _LAG_SECONDS  # what was made in it last may be unknown yet
            remains = await self._empty(key)
            namespace = await self._tell(key, namespace, remains)
            if namespace is None:
                return None
            if not remains.nothing:
                return _LOOK_AGAIN
        await self._finish(key, namespace)
        return None

    async def _tell(self, key: Key, namespace: Namespace, remains: Remains) -> Namespace | None:
        """The namespace with its conditions written; None where it is gone."""
        wanted = conditions(namespace, remains, times.format_time(times.now()))
        if wanted == namespace.status.conditions and namespace.status.phase == "Terminating":
            return namespace
        status = namespace.status.model_copy(update={"conditions": wanted, "phase": "Terminating"})
        try:
            return await self.client.update_status(namespace.model_copy(update={"status": status}), tenant=key.tenant)
        except Exception as error:
            if is_reason(error, "NotFound"):
                return None
            raise

    async def _finish(self, key: Key, namespace: Namespace) -> None:
        resource = scheme.by_kind(Namespace.API_VERSION, Namespace.KIND)
        others = [entry for entry in namespace.spec.finalizers if entry != FINALIZER]
        spec = namespace.spec.model_copy(update={"finalizers": others})
        body: dict[str, Any] = namespace.model_copy(update={"spec": spec}).to_dict()
        try:
            if FINALIZER in namespace.spec.finalizers:
                await self.client.request("PUT", resource.path(key.tenant, None, key.name, "finalize"), json=body)
            if not others and not namespace.metadata.finalizers:
                # Where finalizing it has removed it already, there is nothing left to delete.
                options = delete_options(uid=namespace.metadata.uid)
                await self.client.request("DELETE", resource.path(key.tenant, None, key.name), json=options)
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise
