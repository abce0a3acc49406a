"""`hn-controllers`: the process."""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import structlog
import uvloop
from cryptography import x509

from hypernetes.api.tenancy import TenantSAN
from hypernetes.client import Client, ClientConfig, LeadershipLost
from hypernetes.client.kubeconfig import KubeconfigError
from hypernetes.client.leaderelection import Timing
from hypernetes.controllers import manager, memory
from hypernetes.controllers.manager import Settings
from hypernetes.controllers.nodelifecycle import NodeTiming
from hypernetes.controllers.observing import Observed, serving
from hypernetes.controllers.projects import DEFAULT_GRACE_SECONDS
from hypernetes.controllers.volumes import drivers
from hypernetes.controllers.zones import Rates
from hypernetes.providers import loading
from hypernetes.providers.identity.base import IdentityProvider
from hypernetes.providers.loadbalancer.base import LoadBalancerProvider
from hypernetes.providers.network.base import NetworkProvider

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_log = structlog.get_logger(__name__)


@click.command()
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option(
    "--network-provider",
    metavar="NAME[=FILE]",
    default="local",
    show_default=True,
    help="An installed network provider, and its configuration.",
)
@click.option(
    "--port-sweep-seconds",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    help="Between two looks for ports that the provider has lost, or that nobody needs.",
)
@click.option("--state-dir", type=click.Path(file_okay=False, path_type=Path), default=None, help="For the provider.")
@click.option(
    "--identity-provider",
    metavar="NAME[=FILE]",
    help="Whose projects are tenants, and its configuration.",
)
@click.option(
    "--project-grace-seconds",
    type=click.FloatRange(min=0),
    default=DEFAULT_GRACE_SECONDS,
    show_default=True,
    help="Until the tenant of a deleted project is removed.",
)
@click.option("--node-grace-seconds", type=float, default=40.0, show_default=True, help="Silence until a node is lost.")
@click.option("--eviction-seconds", type=float, default=300.0, show_default=True, help="Until pods leave a lost node.")
@click.option("--node-eviction-rate", type=float, default=0.1, show_default=True, help="Lost nodes emptied a second.")
@click.option(
    "--secondary-node-eviction-rate",
    type=float,
    default=0.01,
    show_default=True,
    help="The same in a large zone that is disrupted.",
)
@click.option(
    "--unhealthy-zone-threshold",
    type=click.FloatRange(0, 1),
    default=0.55,
    show_default=True,
    help="The share of a zone's nodes that must be lost for it to count as disrupted.",
)
@click.option(
    "--large-cluster-size-threshold",
    type=int,
    default=50,
    show_default=True,
    help="A zone of more nodes is large.",
)
@click.option(
    "--volume-config", type=click.Path(path_type=Path, dir_okay=False), default=None,
    help="YAML: what each volume driver has to know, by its name.",
)  # fmt: skip
@click.option(
    "--load-balancer-provider", metavar="NAME[=FILE]", help="Makes Services' load balancers. [default: nobody does]"
)
@click.option("--controllers", default="*", show_default=True, help="Names; -NAME for not that one; * for all others.")
@click.option(
    "--active",
    type=click.IntRange(min=1),
    default=None,
    help="Processes that share the tenants between them, at most; further ones stand by. All by default.",
)
@click.option(
    "--lease-seconds",
    type=click.FloatRange(min=3),
    default=15.0,
    show_default=True,
    help="Until a process that ended without a word is replaced.",
)
@click.option("--bind", default="127.0.0.1", show_default=True, help="Where health and metrics are told.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="For /healthz and /metrics; 0 for none.")
@click.option("--log-level", type=click.Choice(sorted(_LEVELS)), default="info", show_default=True)
def main(
    kubeconfig: Path, network_provider: str, port_sweep_seconds: float, state_dir: Path | None,
    identity_provider: str | None, project_grace_seconds: float, node_grace_seconds: float, eviction_seconds: float,
    node_eviction_rate: float, secondary_node_eviction_rate: float, unhealthy_zone_threshold: float,
    large_cluster_size_threshold: int, volume_config: Path | None, load_balancer_provider: str | None, controllers: str,
    active: int | None, lease_seconds: float, bind: str, port: int, log_level: str,
) -> None:  # fmt: skip
    """Runs the controllers of all tenants."""
    _configure_logging(log_level)
    memory.tune()
    try:
        rates = Rates(
            node_eviction_rate, secondary_node_eviction_rate, large_cluster_size_threshold, unhealthy_zone_threshold
        )
        settings = Settings(
            NodeTiming(grace=node_grace_seconds, rates=rates), eviction_seconds, controllers=controllers,
            projects=_identity_provider(identity_provider) if identity_provider else None,
            project_grace=project_grace_seconds, election=_timing(lease_seconds), active=active,
            port_sweep=port_sweep_seconds,
        )  # fmt: skip
        config = ClientConfig.from_kubeconfig(kubeconfig, user_agent=manager.COMPONENT)
        if load_balancer_provider:
            settings = replace(settings, balancers=_balancers(load_balancer_provider, config))
        provider = _provider(network_provider, config, state_dir or kubeconfig.parent)
        said = drivers.configuration(volume_config)
    except (KubeconfigError, loading.NoSuchProviderError, OSError, ValueError, click.ClickException) as error:
        raise click.ClickException(str(error)) from error
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            code = runner.run(_serve(config, provider, settings, said, bind, port))
        except (OSError, ValueError) as error:  # ConfigurationError too
            raise click.ClickException(str(error)) from error
        if code:
            # Another process works for our tenants by now: what threads are in the middle of isn't waited for.
            sys.stderr.flush()
            os._exit(code)


async def _serve(
    config: ClientConfig, provider: NetworkProvider, settings: Settings, volumes: dict[str, dict[str, Any]], bind: str,
    port: int,
) -> int:  # fmt: skip
    """The exit code: 0 after SIGTERM or SIGINT, 1 when another process has taken over. Raises OSError for a port that
    is taken, ValueError for a selection of controllers that names one that isn't there."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    observed = Observed()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(config))
        elections = await stack.enter_async_context(Client(config))
        settings = replace(settings, volumes=drivers.load(client, _cluster_id(config), volumes))
        for driver in settings.volumes:
            stack.push_async_callback(driver.close)
        if settings.projects is not None:
            stack.push_async_callback(settings.projects.close)
            await settings.projects.open()
        if settings.balancers is not None:
            stack.push_async_callback(settings.balancers.close)
        if port:
            await stack.enter_async_context(serving(observed, bind, port))
        working = asyncio.ensure_future(manager.run(client, elections, provider, settings, observed))
        stopping = asyncio.ensure_future(stopped.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        try:
            if working.done():
                working.result()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        except LeadershipLost as error:
            _log.error("stopped", error=str(error))
            return 1
        finally:
            await provider.close(remove=False)
    return 0


def _timing(lease_seconds: float) -> Timing:
    """In upstream's proportions."""
    return Timing(lease_seconds, lease_seconds * 2 / 3, lease_seconds * 2 / 15)


def _provider(named: str, config: ClientConfig, state_dir: Path) -> NetworkProvider:
    """Of `NAME` or `NAME=FILE`. Raises NoSuchProviderError, and ValueError for its configuration."""
    name, separator, file = named.partition("=")
    factory = loading.load("network", name)
    provider: NetworkProvider = factory(
        cluster_id=_cluster_id(config),
        node_name="",
        state_dir=state_dir,
        configuration=Path(file) if separator else None,
    )
    return provider


def _balancers(named: str, config: ClientConfig) -> LoadBalancerProvider:
    """Of `NAME` or `NAME=FILE`. Raises NoSuchProviderError, and ValueError for its configuration."""
    name, separator, file = named.partition("=")
    provider: LoadBalancerProvider = loading.load("loadbalancer", name)(
        cluster_id=_cluster_id(config), configuration=Path(file) if separator else None
    )
    return provider


def _identity_provider(named: str) -> IdentityProvider:
    """Of `NAME` or `NAME=FILE`. Raises NoSuchProviderError, ConfigurationError."""
    name, separator, file = named.partition("=")
    provider: IdentityProvider = loading.load("identity", name)(Path(file) if separator else None)
    return provider


def _cluster_id(config: ClientConfig) -> str:
    """Our certificate says of which cluster we are."""
    if config.client_cert_pem is not None:
        certificate = x509.load_pem_x509_certificate(config.client_cert_pem)
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            names = None
        for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else ():
            san = TenantSAN.parse(uri)
            if san is not None:
                return san.cluster_id
    raise click.ClickException("the kubeconfig has no client certificate of a cluster's component")


def _configure_logging(level: str) -> None:
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
