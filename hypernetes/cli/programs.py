"""The processes of a cluster and their command lines. Each can be started by hand or by systemd just as well."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hypernetes.cli.layout import Cluster, Layout
from hypernetes.pki import CONTROLLERS, SCHEDULER, node_role
from hypernetes.providers.network.local import machinenodes

APISERVER_STOP_SECONDS = 10.0
STOP_SECONDS = 20.0  # an agent lets go of its machines; it doesn't stop them


@dataclass(frozen=True, slots=True)
class Options:
    """What `hn up` was asked for, as far as the processes are concerned."""

    nodes: tuple[str, ...]
    store: str = "sqlite"
    guest: Path = Path("build/guest")
    insecure_registries: tuple[str, ...] = ()
    accel: str = "auto"
    log_level: str = "info"
    identity_providers: tuple[str, ...] = ()  # NAME or NAME=FILE; tenants follow the first one's projects
    authentication_config: Path | None = None  # issuers of JWTs
    volume_config: Path | None = None  # sections by driver, the same for controllers and nodes
    max_restart_seconds: int | None = None  # between a crash loop's restarts; None: the agent's own
    controllers: int = 1  # processes that share the tenants between them
    network_provider: str = "local"  # NAME or NAME=FILE

    @property
    def has_node_namespaces(self) -> bool:
        """Whether each node has a network namespace of its own, so that what goes between them really does."""
        return len(self.nodes) > 1 and self.network_provider == "local"


@dataclass(frozen=True, slots=True)
class Program:
    name: str  # of its log and pid files
    argv: tuple[str, ...]
    stop_seconds: float  # how long it may take to end after SIGTERM


def apiserver(bin_dir: Path, layout: Layout, cluster: Cluster, options: Options) -> Program:
    providers = [word for each in options.identity_providers for word in ("--identity-provider", each)]
    if options.authentication_config is not None:
        providers += ["--authentication-config", str(options.authentication_config)]
    return _program(
        bin_dir, "hn-apiserver", "hn-apiserver", options, APISERVER_STOP_SECONDS,
        "--dir", layout.root, "--bind", cluster.bind, "--port", cluster.port, "--store", options.store, *providers,
    )  # fmt: skip


def others(bin_dir: Path, layout: Layout, cluster: Cluster, options: Options) -> list[Program]:
    """What needs the API server: scheduler, controllers, and an agent per node."""
    projects = [word for each in options.identity_providers[:1] for word in ("--identity-provider", each)]
    own = [*projects, "--network-provider", options.network_provider, *_volume_options(options)]
    several = [f"hn-{CONTROLLERS}-{number}" for number in range(2, options.controllers + 1)]
    names = ((f"hn-{SCHEDULER}", SCHEDULER, ()), *((n, CONTROLLERS, own) for n in (f"hn-{CONTROLLERS}", *several)))
    programs = [
        _program(
            bin_dir, name, f"hn-{role}", options, STOP_SECONDS, "--kubeconfig", layout.kubeconfig(role), *more,
        )
        for name, role, more in names
    ]  # fmt: skip
    for number, (node, port) in enumerate(zip(options.nodes, cluster.agent_ports, strict=True)):
        programs.append(_agent(bin_dir, layout, cluster, options, node, port, number))
    return programs


def _agent(
    bin_dir: Path, layout: Layout, cluster: Cluster, options: Options, node: str, port: int, number: int
) -> Program:
    pki, role = layout.pki_directory(cluster), node_role(node)
    optional = [word for registry in options.insecure_registries for word in ("--insecure-registry", registry)]
    optional += _volume_options(options)
    provider = options.network_provider
    if options.has_node_namespaces:
        provider = f"local={layout.node_network(node)}"
        optional += ["--network-address", machinenodes.address(number)]
    if options.max_restart_seconds is not None:
        optional += ["--max-container-restart-period", str(options.max_restart_seconds)]
    return _program(
        bin_dir, f"hn-agent-{node}", "hn-agent", options, STOP_SECONDS,
        "--dir", layout.node(node), "--node-name", node, "--kubeconfig", layout.kubeconfig(role),
        "--cert", pki.certificate(role), "--key", pki.key(role), "--client-ca", pki.ca_certificate,
        "--port", port, "--cluster-id", cluster.id, "--guest", options.guest, "--accel", options.accel,
        "--network-provider", provider, *optional,
    )  # fmt: skip


def _volume_options(options: Options) -> list[str]:
    return [] if options.volume_config is None else ["--volume-config", str(options.volume_config)]


def _program(
    bin_dir: Path, name: str, script: str, options: Options, stop_seconds: float, *words: str | Path | int
) -> Program:
    argv: Sequence[str] = (str(bin_dir / script), *map(str, words), "--log-level", options.log_level)
    return Program(name, tuple(argv), stop_seconds)
