"""The DaemonSet controller: carries out what plan.py decides."""

from collections.abc import Sequence

from hypernetes.api import selectors, times
from hypernetes.api.models.apps_v1 import ControllerRevision, DaemonSet
from hypernetes.api.models.core_v1 import Node, Pod
from hypernetes.api.selectors import Selector
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers import history, ownership, pods
from hypernetes.controllers.daemonsets import plan
from hypernetes.controllers.history import History
from hypernetes.controllers.informers import Informers, uid_index
from hypernetes.controllers.podcontroller import PodController


class DaemonSets(PodController[DaemonSet]):
    name = "daemonset"
    model = DaemonSet

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self.nodes, self.revisions = informers.of(Node), informers.of(ControllerRevision)
        self.nodes.on_change(self._node_changed)
        self.pods.on_change(self._neighbour_changed)

    def selects(self, owner: DaemonSet) -> Selector:
        return selectors.from_object(owner.spec.selector.to_dict())

    def _node_changed(self, key: Key, old: Node | None, new: Node | None) -> None:
        """Heartbeats change no placement."""
        if old is None or new is None or _placing(old) != _placing(new):
            for candidate in self.owners.keys():  # noqa: SIM118
                self.queue.add(candidate)

    def _neighbour_changed(self, key: Key, old: Pod | None, new: Pod | None) -> None:
        """A pod of the tenant came to a node, or left it."""
        before, after = (pod.spec.node_name if pod is not None and _holds(pod) else None for pod in (old, new))
        if key.tenant != SYSTEM_TENANT and before != after:
            for candidate in self.owners.keys():  # noqa: SIM118
                if candidate.tenant == key.tenant:
                    self.queue.add(candidate)

    async def reconcile(self, key: Key) -> float | None:
        owner = self.owners.get(key)
        if owner is None:
            self.expectations.forget(key)
            return None
        if not self.expectations.met(key):
            return None  # the pods' own events come
        owned = await self.claim(key, owner)
        revisions = self.revisions.by_index("controller", uid_index(key.tenant, owner.metadata.uid))
        past = await history.sync(self.client, key.tenant, owner, revisions)
        nodes = [node for _, node in self.nodes.items()]
        decided = plan.decide(owner, nodes, self._eligible(key.tenant), owned, past.present, times.now())
        if decided.status.to_dict() != owner.status.to_dict():
            await self.client.update_status(owner.model_copy(update={"status": decided.status}), tenant=key.tenant)
        for pod in decided.failed:
            where = f"{pod.metadata.namespace}/{pod.metadata.name} on node {pod.spec.node_name}"
            message = f"Found failed daemon pod {where}, will try to kill it"
            self.recorder.event(owner, "Warning", "FailedDaemonPod", message)
        made = [plan.pod(owner, node, past.present) for node in decided.create]
        failure = await self.change_pods(key, owner, decided.delete, made)
        if failure is not None:
            raise failure
        await self._truncate(key, owner, owned, past)
        return decided.again

    def _eligible(self, tenant: str) -> set[str] | None:
        """None: all nodes. See the package's text."""
        if tenant == SYSTEM_TENANT:
            return None
        return {
            node.metadata.name or ""
            for _, node in self.nodes.items()
            if any(
                found.tenant == tenant and (pod := self.pods.get(found)) is not None and _holds(pod)
                for found in self.pods.index_keys("node", node.metadata.name or "")
            )
        }

    async def _truncate(self, key: Key, owner: DaemonSet, owned: Sequence[Pod], past: History) -> None:
        digests = {pod.metadata.labels.get(history.HASH_LABEL, "") for pod in owned}
        live = {each.metadata.name or "" for each in past.revisions if history.digest_of(each) in digests}
        live.add(past.present.metadata.name or "")
        await history.truncate(self.client, key.tenant, past, live, owner.spec.revision_history_limit)


def _placing(node: Node) -> tuple[object, ...]:
    """What of a node decides where pods go."""
    taints = [(taint.key, taint.value, taint.effect) for taint in node.spec.taints]
    return node.metadata.labels, taints, node.spec.unschedulable


def _holds(pod: Pod) -> bool:
    """A pod that makes its node one of the tenant's: it is there, lives, and isn't a DaemonSet's itself."""
    reference = ownership.controller_of(pod)
    return bool(pod.spec.node_name) and pods.is_active(pod) and (reference is None or reference.kind_ != DaemonSet.KIND)
