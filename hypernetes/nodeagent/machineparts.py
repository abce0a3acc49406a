"""What serves the present machine of a pod, made once for each."""

from collections.abc import Callable
from dataclasses import dataclass

from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent import fieldrefs, sizing
from hypernetes.nodeagent.logs import PodLogs
from hypernetes.nodeagent.parts import Parts
from hypernetes.nodeagent.podrecord import PodRecord
from hypernetes.nodeagent.portkeeper import PortKeeper
from hypernetes.nodeagent.runtime.base import Machine
from hypernetes.nodeagent.servicepusher import ServicePusher
from hypernetes.nodeagent.sources import PodSources
from hypernetes.nodeagent.starting import Starter
from hypernetes.nodeagent.volumes import PodVolumes


@dataclass(frozen=True, slots=True)
class MachineParts:
    starter: Starter
    pusher: ServicePusher
    port: PortKeeper
    volumes: PodVolumes

    @classmethod
    def of(
        cls, parts: Parts, record: PodRecord, machine: Machine, logs: PodLogs, pod: Callable[[], Pod]
    ) -> "MachineParts":
        claim = record.claim
        assert claim is not None
        present = pod()
        facts = fieldrefs.PodFacts(
            pod_ip=claim.address,
            host_ip=parts.host_ip,
            machine_cpu_millis=sizing.cpus(present) * 1000,
            machine_memory_bytes=sizing.memory_bytes(present),
        )
        starter = Starter(parts, record, claim, machine, logs, facts)
        return cls(
            starter,
            ServicePusher(
                parts.views, machine, tenant=record.tenant, pod_uid=record.uid, service_cidr=claim.service_cidr
            ),
            PortKeeper(parts, record, claim, pod),
            PodVolumes(
                PodSources(parts.client, record.tenant, record.namespace), machine, facts, starter.attach_image,
                parts.clock,
            ),
        )  # fmt: skip
