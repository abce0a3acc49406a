"""What a pod's volumes ask of its node, and what is to be written so that its claims get theirs there.

    claims of a pod ─┬─ bound: the node must reach the volume
                     ├─ waiting for a first pod: a free volume that a node reaches, or one made there
                     └─ anything else: the pod waits

A node chosen for a pod with unbound claims is written on them (`volume.kubernetes.io/selected-node`), or a free volume
is reserved; the pod keeps its place on the node and is decided again when the claims are bound. Pure: lookups go to
the informers' caches.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from hypernetes.api.models.core_v1 import (
    NodeSelector,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    TopologySelectorTerm,
)
from hypernetes.api.models.storage_v1 import StorageClass
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.api.volumes import matching, names
from hypernetes.client import Informer, Key
from hypernetes.scheduler.demands import ATTACHABLE, NODE_BYTES, Requirement, Term, VolumeDemands, terms_of

BY_NODE = "local.hypernetes.io"  # the driver whose volumes nodes keep themselves

Alternatives = tuple[Term, ...]  # one must hold; none: anywhere


@dataclass(frozen=True, slots=True)
class Needs:
    """`demands` go into the evaluation; `unbound` are claims that get their volume once a node is chosen."""

    demands: VolumeDemands
    requests: tuple[tuple[str, int], ...] = ()
    unbound: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One write for one claim: a volume reserved for it, or the node on which one is to be made."""

    claim: PersistentVolumeClaim
    volume: PersistentVolume | None = None
    node: str = ""


class Matches(Protocol):
    def __call__(self, alternatives: Alternatives, node: str) -> bool:
        """Whether a node is among those that the terms describe."""


@dataclass(slots=True)
class Volumes:
    """Looks into the caches of claims, volumes and classes."""

    claims: Informer[PersistentVolumeClaim]
    volumes: Informer[PersistentVolume]
    classes: Informer[StorageClass]
    users: dict[Key, set[Key]] = field(default_factory=dict)  # claim → pods that name it and haven't ended

    # Who uses what

    def add(self, key: Key, pod: Pod) -> None:
        for claim in claim_keys(key, pod):
            self.users.setdefault(claim, set()).add(key)

    def remove(self, key: Key, pod: Pod) -> None:
        for claim in claim_keys(key, pod):
            pods = self.users.get(claim, set())
            pods.discard(key)
            if not pods:
                self.users.pop(claim, None)

    # What a pod needs

    def needs(self, key: Key, pod: Pod, placed: Callable[[Key], bool]) -> Needs:
        """`placed` tells whether a pod counts on a node."""
        blocked = ""
        bound: list[Alternatives] = []
        bindable: list[Alternatives] = []
        unbound: list[Key] = []
        requests: dict[str, int] = {}
        for volume, claim_key in _named(key, pod):
            claim = self.claims.get(claim_key)
            why = self._blocks(key, pod, volume, claim_key, claim, placed)
            if why or claim is None:
                blocked = blocked or why
                continue
            if claim.spec.volume_name:
                found = self.volumes.get(Key(key.tenant, "", claim.spec.volume_name))
                assert found is not None
                _add(bound, affinity(found))
                storage = names.storage_of(key.tenant, found.spec)
                if storage is not None:
                    resource = ATTACHABLE + storage.driver
                    requests[resource] = requests.get(resource, 0) + 1
                continue
            unbound.append(claim_key)
            where, bytes_needed = self._where(key.tenant, claim)
            _add(bindable, where)
            if bytes_needed:
                requests[NODE_BYTES] = requests.get(NODE_BYTES, 0) + bytes_needed
        demands = VolumeDemands(blocked, tuple(bound), tuple(bindable))
        return Needs(demands, tuple(sorted(requests.items())), tuple(unbound))

    def _blocks(
        self, key: Key, pod: Pod, volume: str, claim_key: Key, claim: PersistentVolumeClaim | None,
        placed: Callable[[Key], bool],
    ) -> str:  # fmt: skip
        """Why no node will do; "" if one may."""
        name = claim_key.name
        if claim is None:
            if volume:
                return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
            return f'persistentvolumeclaim "{name}" not found'
        owner = next((each.uid for each in claim.metadata.owner_references if each.controller), None)
        if volume and owner != pod.metadata.uid:
            return f'PVC "{name}" was not created for pod "{key.name}" (pod is not owner)'
        if claim.metadata.deletion_timestamp is not None:
            return f'persistentvolumeclaim "{name}" is being deleted'
        if claim.status.phase == "Lost":
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.spec.volume_name}"'
        if "ReadWriteOncePod" in claim.spec.access_modes and self._taken(key, claim_key, placed):
            return "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
        if claim.spec.volume_name:
            there = self.volumes.get(Key(key.tenant, "", claim.spec.volume_name))
            if there is None or names.BIND_COMPLETED not in claim.metadata.annotations:
                return "pod has unbound immediate PersistentVolumeClaims"
        elif not self._waits(key.tenant, claim):
            return "pod has unbound immediate PersistentVolumeClaims"
        return ""

    def _taken(self, key: Key, claim: Key, placed: Callable[[Key], bool]) -> bool:
        return any(other != key and placed(other) for other in self.users.get(claim, ()))

    def _class(self, tenant: str, claim: PersistentVolumeClaim) -> StorageClass | None:
        name = names.class_name(claim)
        return self.classes.get(Key(tenant, "", name)) or self.classes.get(Key(SYSTEM_TENANT, "", name))

    def _waits(self, tenant: str, claim: PersistentVolumeClaim) -> bool:
        found = self._class(tenant, claim)
        return found is not None and found.volume_binding_mode == "WaitForFirstConsumer"

    def _where(self, tenant: str, claim: PersistentVolumeClaim) -> tuple[Alternatives | None, int]:
        """The nodes on which an unbound claim can get a volume (None: on all), and how many bytes it takes there."""
        chosen = claim.metadata.annotations.get(names.SELECTED_NODE)
        if chosen:
            return _only(chosen), 0
        found = self._class(tenant, claim)
        assert found is not None
        present: list[Term] = []
        for volume in self._free(tenant, claim):
            reach = affinity(volume)
            if reach is None:
                return None, 0
            present += reach
        if found.provisioner == names.NO_PROVISIONER:
            return tuple(dict.fromkeys(present)), 0
        size = names.requested_bytes(claim) if found.provisioner == BY_NODE and not present else 0
        source = claim.metadata.annotations.get(names.SOURCE_NODE)
        if source:
            return _only(source), size
        allowed = _topology(found.allowed_topologies)
        return (None if allowed is None else tuple(dict.fromkeys([*present, *allowed]))), size

    def _free(self, tenant: str, claim: PersistentVolumeClaim) -> list[PersistentVolume]:
        """Volumes that are there and that the claim could have."""
        index = names.class_index(tenant, names.class_name(claim))
        return [each for each in self.volumes.by_index("class", index) if matching.best(claim, [each]) is not None]

    # What is to be written

    def choices(self, needs: Needs, node: str, matches: Matches) -> list[Choice]:
        """For a pod that goes to a node. A volume that is there comes before one that is to be made."""
        found: list[Choice] = []
        taken: set[str] = set()
        for key in needs.unbound:
            claim = self.claims.get(key)
            if claim is None or claim.spec.volume_name or names.SELECTED_NODE in claim.metadata.annotations:
                continue
            reachable = [
                volume for volume in self._free(key.tenant, claim)
                if volume.metadata.name not in taken and _reaches(volume, node, matches)
            ]  # fmt: skip
            volume = matching.best(claim, reachable)
            if volume is not None:
                taken.add(volume.metadata.name or "")
                if not matching.refers(volume.spec.claim_ref, claim) or not volume.spec.claim_ref.uid:  # type: ignore[union-attr]
                    found.append(Choice(claim, reserved(volume, claim)))
            else:
                found.append(Choice(claim, node=node))
        return found


def claim_keys(key: Key, pod: Pod) -> Iterable[Key]:
    return (Key(key.tenant, key.namespace, name) for name in names.claims_of(pod).values())


def _named(key: Key, pod: Pod) -> Iterable[tuple[str, Key]]:
    """(volume if it is ephemeral, claim) of each."""
    ephemeral = {volume.name for volume in pod.spec.volumes if volume.ephemeral is not None}
    for volume, name in names.claims_of(pod).items():
        yield (volume if volume in ephemeral else ""), Key(key.tenant, key.namespace, name)


def affinity(volume: PersistentVolume) -> Alternatives | None:
    """From which nodes a volume can be reached; None: from all."""
    required: NodeSelector | None = volume.spec.node_affinity.required if volume.spec.node_affinity else None
    return terms_of(required) if required is not None else None


def _topology(terms: Iterable[TopologySelectorTerm]) -> Alternatives | None:
    found = tuple(
        tuple(Requirement(rule.key, "In", tuple(rule.values)) for rule in term.match_label_expressions)
        for term in terms
    )  # fmt: skip
    return found or None


def _reaches(volume: PersistentVolume, node: str, matches: Matches) -> bool:
    where = affinity(volume)
    return where is None or matches(where, node)


def _only(node: str) -> Alternatives:
    return ((Requirement("metadata.name", "In", (node,), field=True),),)


def _add(found: list[Alternatives], where: Alternatives | None) -> None:
    if where is not None and where not in found:
        found.append(where)


def reserved(volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
    """The volume as the claim's: the binder does the rest."""
    new = volume.model_copy(deep=True)
    if new.spec.claim_ref is None:
        new.metadata.annotations[names.BOUND_BY_CONTROLLER] = "yes"
    new.spec.claim_ref = ObjectReference(
        api_version_="v1", kind_="PersistentVolumeClaim", namespace=claim.metadata.namespace, name=claim.metadata.name,
        uid=claim.metadata.uid, resource_version=claim.metadata.resource_version,
    )  # fmt: skip
    return new
