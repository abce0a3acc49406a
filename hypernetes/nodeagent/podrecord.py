"""A pod's record on this node's disk: how far its life has come, and what must not be forgotten if the agent dies.

DIR/pods/<uid>/record.json, replaced atomically at every step.
"""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson
import structlog

from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent.addresses import Claim
from hypernetes.nodeagent.containers import ContainerRecord, all_of

log = structlog.get_logger()

_FILE = "record.json"


class Step(StrEnum):
    """What is to be done next. The order is that of a pod's life."""

    CLAIM_ADDRESS = "claim address"
    PLUG_NETWORK = "plug network"
    BOOT = "boot"
    CONFIGURE = "configure"
    SERVICES = "services"
    VOLUMES = "volumes"
    CONTAINERS = "containers"
    FINISHED = "finished"  # nothing will run again; kept for its status and logs
    TERMINATING = "terminating"
    REMOVED = "removed"


STEPS = tuple(Step)


@dataclass(slots=True)
class PodRecord:
    uid: str
    tenant: str
    namespace: str
    name: str
    step: Step = Step.CLAIM_ADDRESS
    claim: Claim | None = None
    mtu: int = 0  # of the pod's port
    machine_memory_bytes: int = 0  # of the machine at its start
    machine_cpus: int = 0
    size_reason: str = ""  # what that follows from, and how (sizing.MachineSize)
    size_message: str = ""
    infeasible: str = ""  # why the machine can't be what the pod asks for now
    start_time: str = ""
    boot_id: str = ""
    containers: dict[str, ContainerRecord] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)  # digests of those whose disks the machine has
    final_phase: str | None = None
    reason: str = ""
    message: str = ""
    disruption: str = ""  # the message of the condition DisruptionTarget

    @classmethod
    def of(cls, pod: Pod, tenant: str) -> "PodRecord":
        """A new pod's."""
        return cls(
            uid=pod.metadata.uid or "",
            tenant=tenant,
            namespace=pod.metadata.namespace or "",
            name=pod.metadata.name or "",
            containers={container.name: ContainerRecord(container.name) for container in all_of(pod)},
        )

    def admit(self, pod: Pod) -> None:
        """Has a record for each container, those that came to the pod later too."""
        for container in all_of(pod):
            self.containers.setdefault(container.name, ContainerRecord(container.name))

    def past(self, step: Step) -> bool:
        return STEPS.index(self.step) > STEPS.index(step)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "PodRecord":
        return cls(
            **{
                **value,
                "step": Step(value["step"]),
                "claim": Claim.from_dict(value["claim"]) if value["claim"] else None,
                "containers": {name: ContainerRecord.from_dict(record) for name, record in value["containers"].items()},
            }
        )


class PodRecords:
    """All records of this node."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def directory(self, uid: str) -> Path:
        return self._directory / uid

    def load(self) -> Iterator[PodRecord]:
        """Every readable record; a damaged one is logged and its pod starts anew."""
        for path in sorted(self._directory.glob(f"*/{_FILE}")):
            record = self.read(path.parent.name)
            if record is not None:
                yield record

    def read(self, uid: str) -> PodRecord | None:
        """The record of one pod; None where there is none that can be read."""
        path = self.directory(uid) / _FILE
        try:
            return PodRecord.from_dict(orjson.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("pod.record.unreadable", path=str(path), error=str(error))
            return None

    def save(self, record: PodRecord) -> None:
        """Raises OSError."""
        directory = self.directory(record.uid)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = directory / (_FILE + ".new")
        temporary.write_bytes(orjson.dumps(record.to_dict()))
        temporary.replace(directory / _FILE)

    def remove(self, uid: str) -> None:
        """The record and all that lies beside it (logs). Idempotent."""
        shutil.rmtree(self.directory(uid), ignore_errors=True)
