"""What is called how among volumes, by upstream's words, and facts that one object tells.

https://kubernetes.io/docs/reference/labels-annotations-taints/
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from hypernetes.api import quantity
from hypernetes.api.models.core_v1 import PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Pod
from hypernetes.api.models.storage_v1 import VolumeAttachment
from hypernetes.api.object import tenant_of

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONERS = ("volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner")
FORMER_CLASS = "volume.beta.kubernetes.io/storage-class"  # an annotation, before there was a field
NO_PROVISIONER = "kubernetes.io/no-provisioner"

# Of a claim, from before its volume is made until a PersistentVolume stands for it.
PROVISIONING_FINALIZER = "hypernetes.io/volume-provisioning"
# Of a PersistentVolume whose storage is to be deleted with it.
PROVISIONED_FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"

# The node that keeps what a claim's volume is to be made from; of a claim, and of a VolumeSnapshotContent.
SOURCE_NODE = "hypernetes.io/source-node"
HOSTNAME = "kubernetes.io/hostname"  # a label of nodes

HANDLE = "hypernetes.io/volume-handle"  # of a VolumeAttachment: the handle of what is attached
READ_ONLY = "hypernetes.io/read-only"  # of a VolumeAttachment: "true" where it may only be read

CINDER = "cinder.csi.openstack.org"  # also what `cinder:` in a pod or PersistentVolume means

_UNITS = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


class Storage(NamedTuple):
    """What a driver calls one volume of a tenant."""

    tenant: str
    driver: str
    handle: str


def storage_of(tenant: str, spec: PersistentVolumeSpec) -> Storage | None:
    """None for what no driver of ours attaches, as NFS."""
    if spec.csi is not None:
        return Storage(tenant, spec.csi.driver, spec.csi.volume_handle)
    if spec.cinder is not None:
        return Storage(tenant, CINDER, spec.cinder.volume_id)
    return None


def node_of(volume: PersistentVolume) -> str | None:
    """The one node from which a volume is reached, if it is one."""
    required = volume.spec.node_affinity.required if volume.spec.node_affinity is not None else None
    terms = required.node_selector_terms if required is not None else []
    if len(terms) != 1:
        return None
    named = [rule.values for rule in terms[0].match_expressions if rule.key == HOSTNAME and rule.operator == "In"]
    return named[0][0] if len(named) == 1 and len(named[0]) == 1 else None


def attachment_name(driver: str, handle: str, node: str) -> str:
    """As upstream's: it is the same for whoever makes it again after a crash."""
    return "csi-" + hashlib.sha256(f"{handle}{driver}{node}".encode()).hexdigest()


def attachment_finalizer(driver: str) -> str:
    return f"external-attacher/{driver.replace('.', '-')}"


def attached_storage(attachment: VolumeAttachment) -> Storage:
    """What is attached; the volume's own object may be gone already."""
    handle = attachment.metadata.annotations.get(HANDLE, "")
    return Storage(tenant_of(attachment), attachment.spec.attacher, handle)


def class_name(obj: PersistentVolume | PersistentVolumeClaim) -> str:
    """ "" for none."""
    former = obj.metadata.annotations.get(FORMER_CLASS)
    return former if former is not None else obj.spec.storage_class_name or ""


def requested_bytes(claim: PersistentVolumeClaim) -> int:
    requests = claim.spec.resources.requests if claim.spec.resources is not None else {}
    return quantity.whole(requests.get("storage", "0"))


def capacity_bytes(volume: PersistentVolume) -> int:
    return quantity.whole(volume.spec.capacity.get("storage", "0"))


def of_bytes(number: int) -> str:
    """A quantity in the largest unit that it is a whole number of: 1073741824 is 1Gi."""
    text = str(number)
    for unit in _UNITS:
        if not number or number % 1024:
            break
        number //= 1024
        text = f"{number}{unit}"
    return text


def claims_of(pod: Pod) -> dict[str, str]:
    """Volume of the pod → the claim that it names, or that is made for it."""
    found = {}
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            found[volume.name] = volume.persistent_volume_claim.claim_name
        elif volume.ephemeral is not None:
            found[volume.name] = f"{pod.metadata.name}-{volume.name}"
    return found


def inline_storage(pod: Pod) -> dict[str, Storage]:
    """Volume of the pod → what it names without a claim."""
    return {
        volume.name: Storage(tenant_of(pod), CINDER, volume.cinder.volume_id)
        for volume in pod.spec.volumes
        if volume.cinder is not None
    }


# Values of the informers' indexes


def claim_index(tenant: str, namespace: str | None, name: str | None) -> str:
    return f"{tenant}/{namespace or ''}/{name or ''}"


def volume_index(tenant: str, name: str) -> str:
    return f"{tenant}/{name}"


def class_index(tenant: str, name: str) -> str:
    return f"{tenant}/{name}"


def storage_index(storage: Storage) -> str:
    return "/".join(storage)


def index_claims_of_pod(pod: Pod) -> Iterable[str]:
    return [claim_index(tenant_of(pod), pod.metadata.namespace, name) for name in claims_of(pod).values()]


def index_storage_of_pod(pod: Pod) -> Iterable[str]:
    return map(storage_index, inline_storage(pod).values())


def index_claim_of_volume(volume: PersistentVolume) -> Iterable[str]:
    reference = volume.spec.claim_ref
    return () if reference is None else (claim_index(tenant_of(volume), reference.namespace, reference.name),)


def index_volume_of_claim(claim: PersistentVolumeClaim) -> Iterable[str]:
    return (volume_index(tenant_of(claim), claim.spec.volume_name),) if claim.spec.volume_name else ()


def index_storage_of_volume(volume: PersistentVolume) -> Iterable[str]:
    storage = storage_of(tenant_of(volume), volume.spec)
    return () if storage is None else (storage_index(storage),)


def index_class(obj: PersistentVolume | PersistentVolumeClaim) -> Iterable[str]:
    return (class_index(tenant_of(obj), class_name(obj)),)


def index_storage_of_attachment(attachment: VolumeAttachment) -> Iterable[str]:
    return (storage_index(attached_storage(attachment)),)


def index_node_of_attachment(attachment: VolumeAttachment) -> Iterable[str]:
    return (attachment.spec.node_name,)
