"""What a volume provider does: block volumes of tenants, and how a node opens one.

Two processes use it. hn-controllers calls the cluster-wide half (`VolumeProvider`), hn-agent that of its node
(`NodeVolumes`). Every call is idempotent and may be repeated after a crash at any point; calls about one volume come
one after another, but after a change of leader the same call may come from two processes.
`tests/integration/volumes/volumesuite.py` holds every provider to this.

A handle is what a provider calls a volume or snapshot (`volumeHandle` of the PersistentVolume). Tenants write
PersistentVolumes, so **a handle proves nothing**: it comes with its `Owner`, and one that isn't that owner's is the
same to the caller as one that never was.

Found by entry point: group `hypernetes.providers.volume`, name = the driver's, value a `Provider`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hypernetes.api.models.hypernetes_v1 import NodeVolume

# What attachment metadata may say to any driver's volumes: limits that the node sets on the I/O of the guest, as
# decimal integers (operations or bytes per second). A class's parameters of the same names are copied there.
IO_LIMITS = frozenset({
    "readIOPS", "writeIOPS", "totalIOPS", "readBytesPerSecond", "writeBytesPerSecond", "totalBytesPerSecond",
})  # fmt: skip


class VolumeError(Exception):
    """Why a call failed. `reason` is a stable CamelCase word for the Event, `message` says what, why, what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class Refused(VolumeError):
    """Whoever asked is at fault, or it can never be: trying again as it is gives the same."""


class Unavailable(VolumeError):
    """It can't be said or done now (storage doesn't answer, a node is away, work is still under way): try again."""


class Exhausted(VolumeError):
    """There is no room, or a quota of the storage is used up. Another node or later may do."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose volume it is. `uid` tells a tenant from an earlier one of the same name."""

    tenant: str
    uid: str
    project_id: str | None = None  # of the identity provider, where tenants are projects


@dataclass(frozen=True, slots=True)
class Handle:
    """A volume or snapshot of an owner."""

    owner: Owner
    id: str


@dataclass(frozen=True, slots=True)
class Topology:
    """Where a volume is to be, or may be reached from. All None: anywhere."""

    node: str | None = None
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """What a new volume begins as; one of them. A volume or snapshot is of the same owner and driver."""

    volume: str | None = None
    snapshot: str | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """`name` identifies the request: the volume of an earlier call with this name and owner is the answer."""

    name: str  # pvc-<claim uid>; fits a DNS label
    owner: Owner
    size_bytes: int
    parameters: Mapping[str, str] = field(default_factory=dict)  # of the StorageClass
    mutable_parameters: Mapping[str, str] = field(default_factory=dict)  # of the VolumeAttributesClass
    source: Source | None = None
    topology: Topology = Topology()
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)
    volume_mode: str = "Filesystem"


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume that is ready. `attributes` are public (`csi.volumeAttributes`)."""

    id: str
    size_bytes: int  # at least what was asked for
    topology: Topology = Topology()  # where it can be used
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    name: str  # snapshot-<VolumeSnapshot uid>; identifies the request as in VolumeRequest
    source: Handle
    parameters: Mapping[str, str] = field(default_factory=dict)  # of the VolumeSnapshotClass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that is ready to be restored."""

    id: str
    size_bytes: int  # the least size of a volume made from it
    created: float  # seconds since the epoch: the moment whose content it has
    topology: Topology = Topology()


class VolumeProvider(Protocol):
    """The cluster-wide half. All methods raise VolumeError."""

    @property
    def driver(self) -> str:
        """The name in StorageClasses (`provisioner`) and PersistentVolumes (`csi.driver`)."""

    @property
    def permitted_parameters(self) -> frozenset[str]:
        """Parameters that a StorageClass of a tenant may have. Others are for classes of the provider (`system`)."""

    async def create(self, request: VolumeRequest) -> Volume:
        """Returns when it can be attached; Unavailable while it is still being made. The topology in the answer is
        binding. An earlier volume of this name that differs in size or source: Refused. What a failed call leaves
        behind is found by the next with the same name, or by `delete` of what that returns."""

    async def delete(self, volume: Handle) -> None:
        """One that is gone is success; one that is attached is Unavailable."""

    async def extend(self, volume: Handle, size_bytes: int) -> int:
        """The new size, at least as large; also while attached. Never shrinks: a larger one is returned as it is."""

    async def snapshot(self, request: SnapshotRequest) -> Snapshot:
        """A copy at one moment, of an attached volume too (then as after a power cut)."""

    async def delete_snapshot(self, snapshot: Handle) -> None:
        """One that is gone is success. Volumes made from it stay."""

    async def attach(self, volume: Handle, node: str, *, read_only: bool) -> dict[str, str]:
        """Reserves the volume for a node; returns attachment metadata, strings that the node needs and that hold no
        key. Refused where it is attached elsewhere and the volume can't be shared; the same node again: the same."""

    async def detach(self, volume: Handle, node: str) -> None:
        """Ends the reservation. Call it only when the node has closed the volume, or has been fenced."""

    async def fence(self, volume: Handle, node: str) -> None:
        """After this nothing on that node can write the volume, whatever still runs there. Raises where that isn't
        certain."""

    async def capacity(self, topology: Topology) -> int | None:
        """Bytes left for new volumes there; None where nobody knows or it has no bound."""

    async def adopt(self, volume: Handle) -> Volume:
        """A volume made by others (`volumeHandle` of a PersistentVolume that somebody wrote, an in-line volume), as
        it is. Refused where the owner has none of this name."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class BlockSource:
    """How the storage process opens a volume. Never leaves the node."""

    # Options of QEMU's blockdev-add without node-name and read-only: {"driver": "raw", "file": {…}}; the size is what
    # it has when opened. Where it names secrets, they are ids of `secrets`.
    blockdev: Mapping[str, Any]
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    # Files and directories that the storage process's user must own (it is given them) to open it.
    paths: tuple[Path, ...] = ()
    # Whether it talks to storage elsewhere; else the storage process has no network at all.
    needs_network: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


class NodeVolumes(Protocol):
    """A node's half. The storage process that it describes is hn-agent's to run (`nodeagent/storage`)."""

    @property
    def driver(self) -> str: ...

    async def open(self, volume: Handle, metadata: Mapping[str, str], *, read_only: bool) -> BlockSource:
        """How to open a volume that is attached to this node. Asked again after the storage process has crashed; where
        it may be written, nothing on this node has it open any more. Raises VolumeError: Unavailable where another
        still holds it."""

    async def opened(self, volume: Handle, metadata: Mapping[str, str], *, read_only: bool) -> None:
        """The storage process has opened what `open` described, after its crash too, and nobody can use it yet: what
        a later `fence` needs is put down. Raises VolumeError where this node may not have the volume any more; then
        the storage process must let go of it, and no guest gets it."""

    async def close(self, volume: Handle, metadata: Mapping[str, str]) -> None:
        """The storage process has let go of it: what `open` took is given back. One that isn't open is no error."""


class NodeVolumeObjects(Protocol):
    """The NodeVolumes of the API, for providers that keep volumes on nodes."""

    async def get(self, tenant: str, name: str) -> NodeVolume | None: ...

    async def create(self, tenant: str, volume: NodeVolume) -> NodeVolume:
        """The one that is there already, where there is one of this name."""

    async def update(self, tenant: str, volume: NodeVolume) -> NodeVolume:
        """Raises Unavailable where it has changed meanwhile."""

    async def delete(self, tenant: str, name: str) -> None:
        """One that is gone is no error."""

    async def settled(self, tenant: str, name: str, seconds: float) -> NodeVolume | None:
        """The object once its node has caught up (`status.observedGeneration`) or after `seconds`; None once gone."""

    async def free_bytes(self, node: str) -> int | None:
        """What the node says it has left for volumes (annotation `hypernetes.io/volume-bytes-free` of its Node)."""

    async def zone(self, node: str) -> str | None:
        """The node's label `topology.kubernetes.io/zone`."""


class FileKeeper(NodeVolumes, Protocol):
    """A node's half that keeps volumes on the node itself; hn-agent makes its NodeVolumes true with it. `uid` is a
    NodeVolume's: no name that a tenant gives leads to a file."""

    async def make(self, uid: str, size_bytes: int | None, source_uid: str | None) -> int:
        """Makes a volume, empty or as its source is at this moment (hn-agent stops writes to it meanwhile); the size
        is at least its source's. Returns the size. One that is there already stays. Raises Exhausted, Refused."""

    async def grow(self, uid: str, size_bytes: int) -> int:
        """Returns the size, never less than before. Raises Exhausted."""

    async def size(self, uid: str) -> int | None:
        """None where there is none."""

    async def remove(self, uid: str) -> None:
        """One that is gone is no error."""

    async def kept(self) -> frozenset[str]:
        """UIDs of all volumes of the node."""

    async def free_bytes(self) -> int:
        """What is left for new volumes, when all that there are have been filled."""


@dataclass(frozen=True, slots=True)
class ControlContext:
    """What hn-controllers gives a provider's cluster-wide half."""

    cluster_id: str
    node_volumes: NodeVolumeObjects
    configuration: Mapping[str, Any] = field(default_factory=dict)  # the provider's own section


@dataclass(frozen=True, slots=True)
class NodeContext:
    """What hn-agent gives a provider's node half."""

    cluster_id: str
    node: str
    directory: Path  # the provider's own on this node; made by hn-agent, 0711
    configuration: Mapping[str, Any] = field(default_factory=dict)


class Provider(Protocol):
    """What an entry point of `hypernetes.providers.volume` names. Its name is the driver's."""

    @staticmethod
    def control(context: ControlContext) -> VolumeProvider: ...

    @staticmethod
    def node(context: NodeContext) -> NodeVolumes: ...
