"""hn-scheduler: the process."""

import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import click
import structlog
import uvloop

from hypernetes.api.models.core_v1 import Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod
from hypernetes.api.models.policy_v1 import PodDisruptionBudget
from hypernetes.api.models.storage_v1 import StorageClass
from hypernetes.api.object import tenant_of
from hypernetes.api.tenancy import ALL_TENANTS, SYSTEM_TENANT
from hypernetes.api.volumes.names import index_class
from hypernetes.client import Client, ClientConfig, EventRecorder, Informer, LeaderElector, LeadershipLost
from hypernetes.client.kubeconfig import KubeconfigError
from hypernetes.scheduler.binder import Binder
from hypernetes.scheduler.loop import SCHEDULER_NAME, Scheduler
from hypernetes.scheduler.volumes import Volumes

_LEASE = "hn-scheduler"
_log = structlog.get_logger(__name__)


@click.command()
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
def main(kubeconfig: Path, log_level: str) -> None:
    """Assigns pods of all tenants to nodes."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, log_level.upper())),
        processors=[
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        config = ClientConfig.from_kubeconfig(kubeconfig, user_agent=_LEASE)
    except KubeconfigError as error:
        raise click.ClickException(str(error)) from error
    uvloop.run(_main(config))


async def _main(config: ClientConfig) -> None:
    loop, serving = asyncio.get_running_loop(), asyncio.ensure_future(serve(config))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    _log.info("stopped")


async def serve(config: ClientConfig) -> None:
    """Schedules whenever this process is the leader, until cancelled."""
    async with Client(config) as client:
        elector = LeaderElector(client, _LEASE)
        while True:
            try:
                await elector.run(lambda: schedule(client))
            except LeadershipLost as lost:
                _log.warning("no longer leading", error=str(lost))


def _namespace(budget: PodDisruptionBudget) -> tuple[str, ...]:
    return (f"{tenant_of(budget)}/{budget.metadata.namespace}",)


async def schedule(client: Client) -> None:
    """Follows pods and nodes and schedules, until cancelled."""
    recorder = EventRecorder(client, SCHEDULER_NAME)
    pods = Informer(client, Pod, tenant=ALL_TENANTS)
    nodes = Informer(client, Node, tenant=SYSTEM_TENANT)
    claims = Informer(client, PersistentVolumeClaim, tenant=ALL_TENANTS)
    volumes = Informer(client, PersistentVolume, tenant=ALL_TENANTS, indexes={"class": index_class})
    classes = Informer(client, StorageClass, tenant=ALL_TENANTS)
    namespaces = Informer(client, Namespace, tenant=ALL_TENANTS)
    budgets = Informer(client, PodDisruptionBudget, tenant=ALL_TENANTS, indexes={"namespace": _namespace})
    scheduler = Scheduler(
        pods.get, Binder(client, recorder), Volumes(claims, volumes, classes),
        lambda tenant, namespace: budgets.by_index("namespace", f"{tenant}/{namespace}"),
    )  # fmt: skip
    namespaces.on_change(scheduler.namespace_changed)
    claims.on_change(scheduler.claim_changed)
    volumes.on_change(scheduler.volume_changed)
    classes.on_change(scheduler.class_changed)
    pods.on_change(scheduler.pod_changed)
    nodes.on_change(scheduler.node_changed)
    async with asyncio.TaskGroup() as tasks:
        followed: tuple[Informer[Any], ...] = (pods, nodes, namespaces, claims, volumes, classes, budgets)
        for informer in followed:
            tasks.create_task(informer.run())
        tasks.create_task(recorder.run())
        # What is placed must be known before anything more is.
        for informer in followed:
            await informer.wait_synced()
        await scheduler.run()


if __name__ == "__main__":
    main()
