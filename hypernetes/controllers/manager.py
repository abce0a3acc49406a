"""Runs all controllers in one process, while it holds the Lease."""

import asyncio
from dataclasses import dataclass, field

from hypernetes.client import Client, EventRecorder, LeaderElector
from hypernetes.controllers.clusterroleaggregation import ClusterRoleAggregation
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.cronjobs import CronJobs
from hypernetes.controllers.daemonsets import DaemonSets
from hypernetes.controllers.deployments import Deployments
from hypernetes.controllers.disruption import Disruption
from hypernetes.controllers.endpoints import EndpointsController
from hypernetes.controllers.endpointslices import EndpointSlices
from hypernetes.controllers.evictions import Evictions
from hypernetes.controllers.garbagecollector import GarbageCollector
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.jobs import Jobs
from hypernetes.controllers.namespaces import Namespaces
from hypernetes.controllers.networks import Networks
from hypernetes.controllers.nodelifecycle import NodeLifecycle, NodeTiming
from hypernetes.controllers.ports import Ports
from hypernetes.controllers.replicasets import ReplicaSets
from hypernetes.controllers.replicationcontrollers import ReplicationControllers
from hypernetes.controllers.resourcequotas import ResourceQuotas
from hypernetes.controllers.serviceaccounts import ServiceAccounts
from hypernetes.controllers.statefulsets import StatefulSets
from hypernetes.controllers.storageprotection import ClaimProtection, VolumeProtection
from hypernetes.controllers.storageprotection import ClaimProtection, VolumeProtection
from hypernetes.controllers.taints import DEFAULT_TOLERATION
from hypernetes.controllers.ttlafterfinished import TtlAfterFinished
from hypernetes.providers.network.base import NetworkProvider

COMPONENT = "hn-controllers"


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers a provider may want otherwise. Seconds."""

    node: NodeTiming = field(default_factory=NodeTiming)
    default_toleration: float = DEFAULT_TOLERATION
    port_grace: float = 60.0


def controllers(
    client: Client, informers: Informers, recorder: EventRecorder, provider: NetworkProvider, settings: Settings
) -> list[Controller]:
    shared = (client, informers, recorder)
    return [
        Deployments(*shared),
        ReplicaSets(*shared),
        ReplicationControllers(*shared),
        StatefulSets(*shared),
        DaemonSets(*shared),
        Jobs(*shared),
        CronJobs(*shared),
        TtlAfterFinished(*shared),
        EndpointsController(*shared),
        EndpointSlices(*shared),
        Disruption(*shared),
        ResourceQuotas(*shared),
        ClaimProtection(*shared),
        VolumeProtection(*shared),
        ClaimProtection(*shared),
        VolumeProtection(*shared),
        Namespaces(*shared),
        ServiceAccounts(*shared),
        ClusterRoleAggregation(*shared),
        GarbageCollector(*shared),
        NodeLifecycle(*shared, settings.node),
        Evictions(*shared, settings.default_toleration),
        Networks(*shared, provider),
        Ports(*shared, settings.port_grace),
    ]


async def run_controllers(client: Client, provider: NetworkProvider, settings: Settings) -> None:
    """Until cancelled. Everything is made anew: a process that leads again starts from fresh caches."""
    informers, recorder = Informers(client), EventRecorder(client, COMPONENT)
    running = controllers(client, informers, recorder, provider, settings)
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.run())
        group.create_task(informers.run())
        for controller in running:
            group.create_task(controller.run())


async def run(client: Client, provider: NetworkProvider, settings: Settings) -> None:
    """Waits for the Lease, then works. Raises LeadershipLost, upon which the process should start again."""
    await LeaderElector(client, COMPONENT).run(lambda: run_controllers(client, provider, settings))
