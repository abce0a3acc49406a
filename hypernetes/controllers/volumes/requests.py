"""What a driver is asked for a claim, and what stands for its answer. Pure."""

from dataclasses import dataclass

from hypernetes.api.models.core_v1 import (
    CSIPersistentVolumeSource,
    Node,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeSpec,
    VolumeNodeAffinity,
)
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.models.storage_v1 import StorageClass, VolumeAttributesClass
from hypernetes.api.volumes import names
from hypernetes.controllers.volumes import classes
from hypernetes.providers.volume.base import (
    IO_LIMITS,
    Owner,
    Refused,
    Source,
    Topology,
    Volume,
    VolumeProvider,
    VolumeRequest,
)

HOSTNAME, ZONE = names.HOSTNAME, "topology.kubernetes.io/zone"
FS_TYPE = "csi.storage.k8s.io/fstype"
FILE_SYSTEMS = ("ext4", "xfs")
_OF_UPSTREAM = "csi.storage.k8s.io/"  # how parameters begin that are no driver's business
_SOURCE = "hypernetes.io/provisioning-source"  # of a claim: "volume/HANDLE" or "snapshot/HANDLE"
_ANYBODYS = frozenset({FS_TYPE})


@dataclass(frozen=True, slots=True)
class Asked:
    """A claim with all that it names."""

    claim: PersistentVolumeClaim
    storage_class: StorageClass
    owner: Owner
    attributes: VolumeAttributesClass | None = None
    source: Source | None = None
    node: Node | None = None  # that the scheduler has chosen


def volume_name(claim: PersistentVolumeClaim) -> str:
    return f"pvc-{claim.metadata.uid}"


def request(asked: Asked, provider: VolumeProvider) -> VolumeRequest:
    """Raises Refused."""
    claim, storage_class = asked.claim, asked.storage_class
    modes = tuple(claim.spec.access_modes)
    if "ReadWriteMany" in modes and claim.spec.volume_mode != "Block":
        raise Refused(
            "AccessModeNotSupported",
            "a file system on a block volume can't be written from several nodes (ReadWriteMany); use a "
            "PersistentVolume of type nfs for that, or ReadWriteOnce",
        )
    _file_system(storage_class)
    parameters = {key: value for key, value in storage_class.parameters.items() if not key.startswith(_OF_UPSTREAM)}
    permitted(storage_class, provider)
    attributes = asked.attributes
    return VolumeRequest(
        name=volume_name(claim),
        owner=asked.owner,
        size_bytes=names.requested_bytes(claim),
        parameters=parameters,
        mutable_parameters=dict(attributes.parameters) if attributes is not None else {},
        source=asked.source,
        topology=topology(storage_class, asked.node),
        access_modes=modes,
        volume_mode=claim.spec.volume_mode or "Filesystem",
    )


def held(claim: PersistentVolumeClaim, source: Source | None) -> PersistentVolumeClaim:
    """The claim as it is while a volume is made for it. It remembers of what, since that may be deleted meanwhile."""
    new = claim.model_copy(deep=True)
    new.metadata.finalizers.append(names.PROVISIONING_FINALIZER)
    if source is not None:
        kind = "volume" if source.volume is not None else "snapshot"
        new.metadata.annotations[_SOURCE] = f"{kind}/{source.volume or source.snapshot}"
    return new


def source_of_held(claim: PersistentVolumeClaim) -> Source | None:
    kind, _, handle = claim.metadata.annotations.get(_SOURCE, "").partition("/")
    if not handle:
        return None
    return Source(volume=handle) if kind == "volume" else Source(snapshot=handle)


def again(claim: PersistentVolumeClaim, owner: Owner) -> VolumeRequest:
    """By which a driver finds what it has made for a claim, whatever has become of the claim's class."""
    return VolumeRequest(volume_name(claim), owner, names.requested_bytes(claim), source=source_of_held(claim))


def permitted(found: StorageClass | VolumeAttributesClass, provider: VolumeProvider) -> None:
    """What a class of a tenant may say is the provider's to permit. Raises Refused."""
    if classes.is_providers(found):
        return
    others = sorted(set(found.parameters) - provider.permitted_parameters - _ANYBODYS)
    if others:
        allowed = ", ".join(sorted(provider.permitted_parameters | _ANYBODYS))
        raise Refused(
            "ParameterNotPermitted",
            f"{found.KIND} {found.metadata.name} has parameters that only the provider's classes may have: "
            f"{', '.join(others)}; permitted are {allowed}",
        )


def _file_system(storage_class: StorageClass) -> str:
    for key in storage_class.parameters:
        if key.startswith(_OF_UPSTREAM) and key != FS_TYPE:
            raise Refused("UnknownParameter", f"the parameter {key} means nothing here")
    found = storage_class.parameters.get(FS_TYPE, FILE_SYSTEMS[0])
    if found not in FILE_SYSTEMS:
        raise Refused("UnknownFileSystem", f"{FS_TYPE} must be one of {', '.join(FILE_SYSTEMS)}, not {found}")
    return found


def topology(storage_class: StorageClass, node: Node | None) -> Topology:
    """Where the volume is to be. Raises Refused where the class doesn't allow the chosen node."""
    terms = [
        {rule.key: rule.values for rule in term.match_label_expressions} for term in storage_class.allowed_topologies
    ]
    if node is not None:
        labels = node.metadata.labels
        if terms and not any(all(labels.get(key) in values for key, values in term.items()) for term in terms):
            message = f"node {node.metadata.name} is not in the class's allowedTopologies"
            raise Refused("TopologyNotAllowed", message)
        return Topology(node.metadata.name, labels.get(ZONE))
    for term in terms:
        hosts, zones = term.get(HOSTNAME), term.get(ZONE)
        if hosts or zones:
            return Topology(hosts[0] if hosts else None, zones[0] if zones else None)
    return Topology()


def recorded(asked: Asked, driver: str, volume: Volume) -> PersistentVolume:
    """The PersistentVolume that stands for what the driver has made, reserved for the claim."""
    claim, storage_class = asked.claim, asked.storage_class
    block = claim.spec.volume_mode == "Block"
    limits = {key: value for key, value in storage_class.parameters.items() if key in IO_LIMITS}
    attributes = asked.attributes
    if attributes is not None:
        limits |= {key: value for key, value in attributes.parameters.items() if key in IO_LIMITS}
    return PersistentVolume(
        metadata=ObjectMeta(
            name=volume_name(claim),
            annotations={names.PROVISIONED_BY: driver},
            finalizers=[names.PROVISIONED_FINALIZER],
        ),
        spec=PersistentVolumeSpec(
            access_modes=list(claim.spec.access_modes),
            capacity={"storage": names.of_bytes(volume.size_bytes)},
            claim_ref=ObjectReference(
                api_version_="v1", kind_="PersistentVolumeClaim", namespace=claim.metadata.namespace,
                name=claim.metadata.name, uid=claim.metadata.uid, resource_version=claim.metadata.resource_version,
            ),
            csi=CSIPersistentVolumeSource(
                driver=driver, volume_handle=volume.id, fs_type=None if block else _file_system(storage_class),
                volume_attributes={**volume.attributes, **limits},
            ),
            mount_options=list(storage_class.mount_options),
            node_affinity=_affinity(volume.topology),
            persistent_volume_reclaim_policy=storage_class.reclaim_policy or "Delete",
            storage_class_name=names.class_name(claim),
            volume_attributes_class_name=claim.spec.volume_attributes_class_name,
            volume_mode=claim.spec.volume_mode or "Filesystem",
        ),
    )  # fmt: skip


def _affinity(topology: Topology) -> VolumeNodeAffinity | None:
    rules = [
        NodeSelectorRequirement(key=key, operator="In", values=[value])
        for key, value in ((HOSTNAME, topology.node), (ZONE, topology.zone if topology.node is None else None))
        if value is not None
    ]
    if not rules:
        return None
    return VolumeNodeAffinity(required=NodeSelector(node_selector_terms=[NodeSelectorTerm(match_expressions=rules)]))
