"""`hn-agent`: puts the parts together and runs until SIGTERM. Machines go on without it."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import click
import structlog
import uvloop
import yaml

from hypernetes import dialing
from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.models.hypernetes_v1 import NodeVolume
from hypernetes.api.models.storage_v1 import VolumeAttachment
from hypernetes.client import Client, ClientConfig, EventRecorder, Informer
from hypernetes.client.kubeconfig import KubeconfigError
from hypernetes.nodeagent import forwarding, hollow, node, restarts, server, sizing
from hypernetes.nodeagent.addresses import Addresses
from hypernetes.nodeagent.agent import Agent
from hypernetes.nodeagent.images.dialing import DialPolicy
from hypernetes.nodeagent.images.dialing import session as image_session
from hypernetes.nodeagent.images.garbage import remove_unused
from hypernetes.nodeagent.images.puller import Puller
from hypernetes.nodeagent.images.store import ImageStore
from hypernetes.nodeagent.networkpeers import NetworkPeers
from hypernetes.nodeagent.nodeshutdown import NodeShutdown
from hypernetes.nodeagent.nodevolumes import NodeVolumeKeeper
from hypernetes.nodeagent.parts import Parts
from hypernetes.nodeagent.podrecord import PodRecords
from hypernetes.nodeagent.pressure import PressureKeeper
from hypernetes.nodeagent.runtime.base import Footprint, MachineError
from hypernetes.nodeagent.runtime.cgroup import Cgroups, host_hierarchy
from hypernetes.nodeagent.runtime.qemu_runtime import RUN_DIRECTORY, open_runtime
from hypernetes.nodeagent.seccomp import Profiles
from hypernetes.nodeagent.storage.nodestorage import NodeStorage
from hypernetes.nodeagent.storage.processes import StorageProcesses
from hypernetes.nodeagent.storage.storage import Storage
from hypernetes.nodeagent.tenantview import TenantViews
from hypernetes.nodeagent.usage import Sampler, read_meter
from hypernetes.pki.contexts import HotContext, server_context
from hypernetes.providers import loading
from hypernetes.providers.network.base import NetworkProvider
from hypernetes.providers.volume.base import FileKeeper, NodeContext, NodeVolumes

log = structlog.get_logger()

VOLUME_PROVIDERS = "hypernetes.providers.volume"
LOCAL_DRIVER = "local.hypernetes.io"
GARBAGE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    directory: Path
    node_name: str
    node_ip: str
    kubeconfig: Path
    certificate: Path
    key: Path
    client_ca: Path
    port: int
    cluster_id: str
    guest: Path
    insecure_registries: tuple[str, ...]
    mirrors: dict[str, list[str]]
    accel: str
    network: str
    max_restart_seconds: float
    volume_configuration: Path | None = None
    network_address: str = ""  # where networks reach this node; `node_ip` if it says nothing


class StartError(Exception):
    """The agent can't start; one sentence that says what to change."""


def network_provider(named: str, options: Options) -> NetworkProvider:
    """Of `NAME` or `NAME=FILE`, by entry point, so that third parties ship theirs. Raises StartError."""
    name, separator, file = named.partition("=")
    try:
        provider: NetworkProvider = loading.load("network", name)(
            cluster_id=options.cluster_id, node_name=options.node_name, state_dir=options.directory / "network",
            node_address=options.network_address or options.node_ip,
            configuration=Path(file) if separator else None,
        )  # fmt: skip
    except (loading.NoSuchProviderError, ValueError) as error:
        raise StartError(str(error)) from error
    return provider


async def run(options: Options) -> None:
    """Until SIGTERM or SIGINT. Raises StartError."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    options.directory.mkdir(parents=True, exist_ok=True, mode=0o711)
    store = ImageStore(options.directory / "images")
    records = PodRecords(options.directory / "pods")
    try:
        config = ClientConfig.from_kubeconfig(options.kubeconfig, user_agent=f"hn-agent/{options.node_name}")
        context = server_context(options.certificate, options.key, options.client_ca, require_client=True)
        store.open()
        records.open()
        own = await asyncio.to_thread(dialing.machine_addresses)
        runtime = await open_runtime(options.directory, options.guest, options.cluster_id, options.accel)
    except (KubeconfigError, OSError) as error:
        raise StartError(str(error)) from error
    except MachineError as error:
        raise StartError(error.message) from error
    network = network_provider(options.network, options)
    drivers = await asyncio.to_thread(volume_drivers, options)
    refused = dialing.own_addresses({*own, options.node_ip})
    policy = DialPolicy(frozenset(options.insecure_registries), refused)
    resolver = forwarding.read_resolv_conf()
    api = urlsplit(config.server)
    async with Client(config) as client, image_session(policy) as session:
        views = TenantViews(client)
        attachments = Informer(client, VolumeAttachment, field_selector=f"spec.nodeName={options.node_name}")
        processes = StorageProcesses(
            options.directory / "storage", RUN_DIRECTORY / f"hn{options.cluster_id}", options.cluster_id,
            Cgroups(await asyncio.to_thread(host_hierarchy), f"hn{options.cluster_id}"), drivers,
        )  # fmt: skip
        storage = Storage(client, NodeStorage(client, options.node_name, processes, attachments))
        parts = Parts(
            host_ip=options.node_ip,
            client=client,
            events=EventRecorder(client, "hn-agent", instance=options.node_name),
            runtime=runtime,
            network=network,
            puller=Puller(store, session, policy, options.mirrors),
            addresses=Addresses(
                client, views, options.node_name, options.network_address or options.node_ip, bound=network.binds_ports
            ),
            storage=storage,
            records=records,
            views=views,
            peers=NetworkPeers(views, network, options.node_name),
            resolver=resolver,
            forwarder=forwarding.Forwarder(resolver.nameservers),
            seccomp=Profiles(options.directory / "seccomp"),
            api_address=(api.hostname or "127.0.0.1", api.port or 443),
            longest_restart_delay=options.max_restart_seconds,
            clock=time.time,
        )
        try:
            keeping = _keeping(options, client, storage.node, drivers)
            hot = HotContext(context, options.certificate, options.key)
            of_storage = [processes.run, attachments.run, *keeping]
            await _serve(options, parts, store, hot, stopping, of_storage, runtime.footprint, storage.node.in_use)
        finally:
            await runtime.close()
            await network.close(remove=False)


def _keeping(
    options: Options, client: Client, storage: NodeStorage, drivers: Mapping[str, NodeVolumes]
) -> Iterator[Callable[[], Coroutine[None, None, None]]]:
    """What makes this node's NodeVolumes true, if it keeps volumes itself."""
    keeper = drivers.get(LOCAL_DRIVER)
    if keeper is not None:
        volumes = Informer(client, NodeVolume, field_selector=f"spec.nodeName={options.node_name}")
        yield volumes.run
        made = NodeVolumeKeeper(
            client, volumes, cast(FileKeeper, keeper), storage.processes.frozen, storage.processes.in_use,
            storage.has_grown, options.node_name,
        )  # fmt: skip
        yield made.run


def volume_drivers(options: Options) -> dict[str, NodeVolumes]:
    """All that are installed, with what the operator wrote for each. Raises StartError."""
    said: dict[str, Any] = {}
    if options.volume_configuration is not None:
        try:
            said = yaml.safe_load(options.volume_configuration.read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise StartError(f"the volume configuration can't be read: {error}") from error
    if not isinstance(said, dict) or not all(isinstance(each, dict) for each in said.values()):
        raise StartError("the volume configuration must map drivers to their sections")
    found = {each.name: each for each in entry_points(group=VOLUME_PROVIDERS)}
    if unknown := sorted(said.keys() - found.keys()):
        raise StartError(f"there is no volume driver {unknown[0]!r}; installed are: {', '.join(sorted(found))}")
    drivers = {}
    if LOCAL_DRIVER not in found:
        log.error("no local volumes", why="the installed package doesn't name their driver: install it again")
    for name in sorted({LOCAL_DRIVER} & found.keys() | said.keys()):
        directory = options.directory / "volumes" / name
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        context = NodeContext(options.cluster_id, options.node_name, directory, said.get(name, {}))
        try:
            drivers[name] = loading.load("volume", name).node(context)
        except (ValueError, loading.NoSuchProviderError) as error:  # ConfigurationError
            raise StartError(str(error)) from error
    return drivers


async def _serve(
    options: Options, parts: Parts, store: ImageStore, context: HotContext, stopping: asyncio.Event,
    of_storage: Sequence[Callable[[], Coroutine[None, None, None]]], footprint: Callable[[str], Footprint],
    in_use: Callable[[], list[str] | None],
) -> None:  # fmt: skip
    pods = Informer(parts.client, Pod, field_selector=f"spec.nodeName={options.node_name}")
    agent = Agent(parts, pods)
    sampler = Sampler(agent.workers, read_meter)
    pressure = PressureKeeper(agent.workers, lambda: node.read_facts(options.directory), footprint)
    ending = NodeShutdown(agent.workers)

    def close() -> None:
        agent.closing = True
        ending.begin()

    asyncio.get_running_loop().add_signal_handler(signal.SIGPWR, close)
    identity = node.NodeIdentity(options.node_name, options.node_ip, options.port, await parts.runtime.version())
    reporter = node.NodeReporter(
        parts.client,
        identity,
        lambda: node.read_facts(options.directory),
        store.images,
        lambda: ending.problem or _problem(agent),
        in_use,
    )
    try:
        runner = await server.serve(agent, sampler, context.context, options.node_ip, options.port, options.node_name)
    except OSError as error:
        raise StartError(f"cannot listen on {options.node_ip}:{options.port}: {error.strerror or error}") from error
    try:
        async with asyncio.TaskGroup() as tasks:
            work = [
                tasks.create_task(coroutine)
                for coroutine in (
                    pods.run(), parts.views.run(), parts.events.run(), context.run(), reporter.run(),
                    agent.run(), sampler.run(), pressure.run(), ending.run(), _collect_garbage(agent, store),
                    _prepare(agent, parts), *(each() for each in of_storage),
                )
            ]  # fmt: skip
            log.info("agent.ready", node=options.node_name, port=options.port, runtime=identity.runtime_version)
            await stopping.wait()
            for task in work:
                task.cancel()
    finally:
        await runner.cleanup()


async def _prepare(agent: Agent, parts: Parts) -> None:
    """After adoption, which takes a machine in the making for one that an earlier agent left unfinished."""
    await agent.adopted.wait()
    await parts.runtime.prepare(sizing.PLAIN_POD_MEMORY_BYTES, sizing.PLAIN_POD_CPUS)


def _problem(agent: Agent) -> str:
    return "" if agent.adopted.is_set() else "hn-agent is still looking for the machines that run here"


async def _collect_garbage(agent: Agent, store: ImageStore) -> None:
    while True:
        await asyncio.sleep(GARBAGE_SECONDS)
        try:
            await remove_unused(store, agent.images_in_use())
        except OSError as error:
            log.warning("image.garbage.failed", error=str(error))


def configure_log(level: str) -> None:
    """key=value lines on stderr."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def parse_mirrors(words: Sequence[str]) -> dict[str, list[str]]:
    """`docker.io=mirror.example` words as a map, in the order given."""
    result: dict[str, list[str]] = {}
    for word in words:
        registry, equals, host = word.partition("=")
        if not (registry and equals and host):
            raise click.BadParameter(f"{word!r} is not of the form REGISTRY=HOST[:PORT]")
        result.setdefault(registry, []).append(host)
    return result


async def run_hollow(
    directory: Path, prefix: str, count: int, kubeconfig: Path, certificate: Path | None, key: Path | None,
    client_ca: Path | None,
) -> None:  # fmt: skip
    """Nodes without machines, until SIGTERM or SIGINT. Raises StartError."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        config = ClientConfig.from_kubeconfig(kubeconfig, user_agent=f"hn-agent/{prefix}")
        tls = None
        if certificate is not None and key is not None and client_ca is not None:
            context = server_context(certificate, key, client_ca, require_client=True)
            tls = lambda _: context  # noqa: E731  one certificate, which names them all
    except (KubeconfigError, OSError) as error:
        raise StartError(str(error)) from error
    async with Client(config) as client, asyncio.TaskGroup() as tasks:
        work = tasks.create_task(hollow.run(directory, prefix, count, client, tls))
        log.info("agent.ready", nodes=count, runtime="fake")
        await stopping.wait()
        work.cancel()


def _only_without_machines(runtime: str, given: dict[str, object]) -> None:
    """Raises click.UsageError for what a real node can't do without."""
    missing = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is None]
    if runtime == "qemu" and missing:
        raise click.UsageError(f"missing, but with --runtime fake: {', '.join(missing)}")


_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--dir", "directory", type=_PATH, required=True, help="Where images and pods' records are kept.")
@click.option("--node-name", required=True)
@click.option("--node-ip", default="127.0.0.1", show_default=True, help="Where hn-apiserver reaches this agent.")
@click.option(
    "--network-address", default="", metavar="ADDRESS",
    help="Where other nodes' networks reach this one's; --node-ip unless it is another.",
)  # fmt: skip
@click.option("--kubeconfig", type=_PATH, required=True)
@click.option("--cert", "certificate", type=_PATH, help="The agent's serving certificate.")
@click.option("--key", type=_PATH)
@click.option("--client-ca", type=_PATH, help="The authority of hn-apiserver's client certificate.")
@click.option("--port", type=click.IntRange(1, 65535))
@click.option("--cluster-id")
@click.option("--guest", type=_PATH, help="The directory of the guest's kernel and images.")
@click.option("--insecure-registry", multiple=True, metavar="HOST:PORT", help="Spoken to in HTTP, at any address.")
@click.option("--registry-mirror", multiple=True, metavar="REGISTRY=HOST", help="Asked before the registry itself.")
@click.option("--accel", type=click.Choice(["auto", "kvm", "tcg"]), default="auto", show_default=True)
@click.option("--network-provider", metavar="NAME[=FILE]", default="local", show_default=True)
@click.option(
    "--max-container-restart-period",
    type=click.FloatRange(1, restarts.MAX_DELAY_SECONDS),
    default=restarts.MAX_DELAY_SECONDS,
    show_default=True,
    help="Seconds that a crash loop's restarts are apart at most.",
)
@click.option(
    "--runtime",
    type=click.Choice(["qemu", "fake"]),
    default="qemu",
    show_default=True,
    help="fake: no machines; nodes named NODE-NAME-0, NODE-NAME-1, … whose containers do what their arguments say.",
)
@click.option("--nodes", type=click.IntRange(1, 10_000), default=1, show_default=True, help="With --runtime fake.")
@click.option(
    "--volume-config", "volume_configuration", type=click.Path(path_type=Path, dir_okay=False), default=None,
    help="YAML: what each volume driver of this node has to know, by its name.",
)  # fmt: skip
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
def main(
    directory: Path, node_name: str, node_ip: str, kubeconfig: Path, certificate: Path, key: Path, client_ca: Path,
    port: int, cluster_id: str, guest: Path, insecure_registry: tuple[str, ...], registry_mirror: tuple[str, ...],
    accel: str, network_provider: str, max_container_restart_period: float, runtime: str, nodes: int,
    volume_configuration: Path | None, network_address: str, log_level: str,
) -> None:  # fmt: skip
    """Runs this node's pods, each as a virtual machine."""
    configure_log(log_level)
    _only_without_machines(
        runtime,
        {
            "cert": certificate,
            "key": key,
            "client_ca": client_ca,
            "port": port,
            "cluster_id": cluster_id,
            "guest": guest,
        },
    )
    if nodes > 1 and runtime == "qemu":
        raise click.UsageError("--nodes is for --runtime fake: each machine's agent is a process of its own")
    if runtime == "fake":
        _until_stopped(run_hollow(directory.resolve(), node_name, nodes, kubeconfig, certificate, key, client_ca))
        return
    options = Options(
        directory=directory.resolve(), node_name=node_name, node_ip=node_ip, kubeconfig=kubeconfig,
        certificate=certificate, key=key, client_ca=client_ca, port=port, cluster_id=cluster_id, guest=guest.resolve(),
        insecure_registries=insecure_registry, mirrors=parse_mirrors(registry_mirror), accel=accel,
        network=network_provider, max_restart_seconds=max_container_restart_period,
        volume_configuration=volume_configuration, network_address=network_address,
    )  # fmt: skip
    _until_stopped(run(options))


def _until_stopped(work: Coroutine[object, object, None]) -> None:
    try:
        with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except StartError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
