"""Runs all controllers in one process, for the tenants that are this process's."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from hypernetes.client import Client, EventRecorder
from hypernetes.client.leaderelection import Timing
from hypernetes.controllers import selection
from hypernetes.controllers.autoscaling import HorizontalPodAutoscalers
from hypernetes.controllers.clusterroleaggregation import ClusterRoleAggregation
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.cronjobs import CronJobs
from hypernetes.controllers.csrcleaner import CSRCleaner
from hypernetes.controllers.daemonsets import DaemonSets
from hypernetes.controllers.deployments import Deployments
from hypernetes.controllers.disruption import Disruption
from hypernetes.controllers.endpoints import EndpointsController
from hypernetes.controllers.endpointslicemirroring import EndpointSliceMirroring
from hypernetes.controllers.endpointslices import EndpointSlices
from hypernetes.controllers.evictions import Evictions
from hypernetes.controllers.garbagecollector import GarbageCollector
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.jobs import Jobs
from hypernetes.controllers.loadbalancers import LoadBalancers
from hypernetes.controllers.membership import Membership, new_identity
from hypernetes.controllers.namespaces import Namespaces
from hypernetes.controllers.networks import Networks
from hypernetes.controllers.nodelifecycle import NodeLifecycle, NodeTiming
from hypernetes.controllers.observing import Observed
from hypernetes.controllers.podgarbage import PodGarbage
from hypernetes.controllers.portbindings import PortBindings
from hypernetes.controllers.ports import Ports
from hypernetes.controllers.projects import DEFAULT_GRACE_SECONDS, Projects
from hypernetes.controllers.replicasets import ReplicaSets
from hypernetes.controllers.replicationcontrollers import ReplicationControllers
from hypernetes.controllers.resourcequotas import ResourceQuotas
from hypernetes.controllers.serviceaccounts import ServiceAccounts
from hypernetes.controllers.servicecidrs import ServiceCIDRs
from hypernetes.controllers.shard import Shard
from hypernetes.controllers.statefulsets import StatefulSets
from hypernetes.controllers.storageprotection import ClaimProtection, VolumeProtection
from hypernetes.controllers.taints import DEFAULT_TOLERATION
from hypernetes.controllers.tokencleaner import TokenCleaner
from hypernetes.controllers.ttlafterfinished import TtlAfterFinished
from hypernetes.controllers.volumes.attachments import VolumeAttachments
from hypernetes.controllers.volumes.attributes import AttributesClassProtection, VolumeAttributes
from hypernetes.controllers.volumes.binder import ClaimBinder
from hypernetes.controllers.volumes.ephemeral import EphemeralVolumes
from hypernetes.controllers.volumes.expansion import VolumeExpansion
from hypernetes.controllers.volumes.phases import VolumePhases
from hypernetes.controllers.volumes.providers import Providers
from hypernetes.controllers.volumes.provisioner import VolumeProvisioner
from hypernetes.controllers.volumes.reclaimer import VolumeReclaimer
from hypernetes.controllers.volumes.snapshotcontents import VolumeSnapshotContents
from hypernetes.controllers.volumes.snapshots import VolumeSnapshots
from hypernetes.providers.identity.base import IdentityProvider
from hypernetes.providers.loadbalancer.base import LoadBalancerProvider
from hypernetes.providers.network.base import NetworkProvider, PortBinder
from hypernetes.providers.volume.base import VolumeProvider

COMPONENT = "hn-controllers"


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers a provider may want otherwise. Seconds."""

    node: NodeTiming = field(default_factory=NodeTiming)
    default_toleration: float = DEFAULT_TOLERATION
    port_grace: float = 60.0
    port_sweep: float = 60.0
    balancers: LoadBalancerProvider | None = None  # of Services of type LoadBalancer
    controllers: str = selection.ALL  # see selection.py
    projects: IdentityProvider | None = None  # whose projects are tenants, opened
    project_grace: float = DEFAULT_GRACE_SECONDS
    volumes: tuple[VolumeProvider, ...] = ()  # the drivers that claims may ask for
    election: Timing = field(default_factory=Timing)
    active: int | None = None  # processes that share the tenants between them, at most; None: all that there are


def controllers(
    client: Client, informers: Informers, recorder: EventRecorder, provider: NetworkProvider, settings: Settings
) -> list[Controller]:
    shared = (client, informers, recorder)
    elected = (client, informers.elected, recorder)  # those that work on the cluster as a whole
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
        EndpointSliceMirroring(*shared),
        Disruption(*shared),
        HorizontalPodAutoscalers(*shared),
        ResourceQuotas(*shared),
        ClaimProtection(*shared),
        VolumeProtection(*shared),
        Namespaces(*shared),
        ServiceCIDRs(*shared),
        ServiceAccounts(*shared),
        ClusterRoleAggregation(*shared),
        GarbageCollector(*shared),
        NodeLifecycle(*elected, settings.node),
        Evictions(*elected, settings.default_toleration),
        Networks(*shared, provider),
        Ports(*shared, settings.port_grace),
        PodGarbage(*shared),
        *_of_volumes(Providers(settings.volumes), *shared),
        AttributesClassProtection(*elected),
        TokenCleaner(*elected),
        CSRCleaner(*shared),
        *_balancing(settings, *shared),
        *_asked_for(settings, provider, *elected),
    ]


def _of_volumes(
    providers: Providers, client: Client, informers: Informers, recorder: EventRecorder
) -> Iterator[Controller]:
    shared = (client, informers, recorder)
    yield from (ClaimBinder(*shared), VolumePhases(*shared), EphemeralVolumes(*shared), VolumeSnapshots(*shared))
    yield VolumeAttributes(*shared)
    for kind in (VolumeProvisioner, VolumeReclaimer, VolumeAttachments, VolumeExpansion, VolumeSnapshotContents):
        yield kind(*shared, providers)


def _balancing(
    settings: Settings, client: Client, informers: Informers, recorder: EventRecorder
) -> Iterator[Controller]:
    if settings.balancers is not None:
        yield LoadBalancers(client, informers, recorder, settings.balancers)


def _asked_for(
    settings: Settings, provider: NetworkProvider, client: Client, informers: Informers, recorder: EventRecorder
) -> Iterator[Controller]:
    """What providers have a use for."""
    if isinstance(provider, PortBinder):
        yield PortBindings(client, informers, recorder, provider, settings.port_sweep)
    if settings.projects is not None:
        yield Projects(client, informers, recorder, settings.projects, timedelta(seconds=settings.project_grace))


class Controllers:
    """The controllers of one process. They begin with the first `widen`: who only stands by keeps nothing."""

    def __init__(self, client: Client, provider: NetworkProvider, settings: Settings, observed: Observed, name: str):
        """Raises ValueError for a selection of controllers that names one that isn't there."""
        self._shard, self._observed = Shard(name), observed
        self._informers, self._recorder = Informers(client, self._shard), EventRecorder(client, COMPONENT)
        known = controllers(client, self._informers, self._recorder, provider, settings)
        selected = selection.select([each.name for each in known], settings.controllers)
        self._running = [each for each in known if each.name in selected]
        self._started = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        await self._started.wait()
        self._observed.controllers = self._running
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._recorder.run())
                group.create_task(self._informers.run())
                for controller in self._running:
                    group.create_task(controller.run())
        finally:
            self._observed.controllers = ()

    def fence(self, held: Callable[[], bool]) -> None:
        """From now on nothing is begun outside of the cluster unless `held`; which any thread asks."""
        self._shard.held = held

    async def narrow(self, members: tuple[str, ...]) -> bool:
        gains = self._shard.narrow(members)
        async with asyncio.TaskGroup() as group:
            for controller in self._running:
                group.create_task(controller.drained())
        self._informers.narrow()
        self._resharded()
        return gains

    async def widen(self, *, tenants: bool, elected: bool) -> None:
        self._shard.elected = self._shard.elected or elected
        if self._started.is_set():
            await self._informers.widen(tenants=tenants, elected=elected)
        else:
            self._started.set()
            for informer in self._informers.used():
                await informer.wait_synced()
        if tenants:
            self._shard.open()
        self._shard.elected_open = self._shard.elected
        self._resharded()

    def _resharded(self) -> None:
        for controller in self._running:
            controller.resharded()


async def run(
    client: Client, elections: Client, provider: NetworkProvider, settings: Settings, observed: Observed
) -> None:
    """Until cancelled. `elections` is a client of its own, so that the renewal of Leases never waits for connections
    behind the work. Raises LeadershipLost, upon which the process should start again, and ValueError for a selection
    of controllers that names one that isn't there."""
    name = new_identity()
    work = Controllers(client, provider, settings, observed, name)
    membership = Membership(elections, COMPONENT, work, identity=name, timing=settings.election, active=settings.active)
    work.fence(membership.held)
    observed.membership = membership
    await membership.run()
