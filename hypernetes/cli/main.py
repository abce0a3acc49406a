"""The `hn` command."""

import asyncio
import os
import platform
import sys
from pathlib import Path

import click
import structlog

from hypernetes.cli import doctor as doctor_module
from hypernetes.cli import nodes, tenants
from hypernetes.cli import status as status_module
from hypernetes.cli import up as up_module
from hypernetes.cli.asking import dir_option, run, with_client
from hypernetes.cli.down import down as bring_down
from hypernetes.cli.errors import CommandError
from hypernetes.cli.guestcommands import guest
from hypernetes.cli.identity.commands import login
from hypernetes.cli.identity.credential import credential
from hypernetes.cli.layout import Layout, node_names
from hypernetes.cli.openstack import openstack
from hypernetes.cli.programs import Options
from hypernetes.cli.progress import echo
from hypernetes.cli.tables import table
from hypernetes.cli.usercommands import user

guest_option = click.option(
    "--guest", type=click.Path(path_type=Path, file_okay=False), default=Path("build/guest"), show_default=True,
    help="Kernel, initramfs and toolbox of pods, as `make guest` builds them.",
)  # fmt: skip
port_option = click.option("--port", type=click.IntRange(1, 65535), default=6443, show_default=True)
bind_option = click.option("--bind", default="127.0.0.1", show_default=True, help="Address that the API is served on.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Hypernetes: one Kubernetes on bare metal for many tenants; every pod is a virtual machine."""
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.add_log_level,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


main.add_command(user)
main.add_command(login)
main.add_command(credential)
main.add_command(openstack)
main.add_command(guest)


@main.command()
@dir_option
@bind_option
@port_option
@click.option(
    "--nodes",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Agents on this machine; of several each has a network namespace.",
)
@click.option(
    "--store",
    default="sqlite",
    show_default=True,
    metavar="sqlite|etcd://HOST:PORT,…",
    callback=lambda *a: _store(a[2]),
)
@guest_option
@click.option("--insecure-registry", multiple=True, metavar="HOST:PORT", help="A registry spoken to over plain HTTP.")
@click.option(
    "--identity-provider",
    "identity_providers",
    multiple=True,
    metavar="NAME[=FILE]",
    help="Asked whose tokens are, in this order; the first one's projects are tenants. See docs/tenancy.md.",
)
@click.option(
    "--authentication-config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
    help="An AuthenticationConfiguration: issuers of JWTs. See docs/tenancy.md.",
)
@click.option(
    "--volume-config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
    help="What each volume driver has to know, by its name. See docs/volumes.md.",
)
@click.option(
    "--network-provider",
    default="local",
    show_default=True,
    metavar="NAME[=FILE]",
    callback=lambda *a: _with_absolute_file(a[2]),
    help="Whose networks tenants' are. See docs/providers.md.",
)
@click.option("--accel", type=click.Choice(["auto", "kvm", "tcg"]), default="auto", show_default=True)
@click.option(
    "--max-container-restart-period", type=click.IntRange(1, 300), help="Seconds; as the kubelet's. [default: 300]"
)
@click.option(
    "--controllers-replicas", type=click.IntRange(1, 16), default=1, show_default=True,
    help="Processes of hn-controllers, which share the tenants between them.",
)  # fmt: skip
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@click.option("--detach", is_flag=True, help="Return when the cluster is up, and leave it running.")
@click.option("--report-to", type=int, hidden=True, help="For --detach: the pipe to tell how it goes.")
def up(
    directory: Path, bind: str, port: int, nodes: int, store: str, guest: Path, insecure_registry: tuple[str, ...],
    identity_providers: tuple[str, ...], authentication_config: Path | None, volume_config: Path | None,
    network_provider: str, accel: str, max_container_restart_period: int | None, controllers_replicas: int,
    log_level: str, detach: bool, report_to: int | None,
) -> None:  # fmt: skip
    """Start the cluster in DIR, or continue it: API server, scheduler, controllers, and a node."""
    names = node_names(nodes, platform.node().split(".")[0].lower() or "node")
    options = Options(
        tuple(names), store, guest.resolve(), insecure_registry, accel, log_level, identity_providers,
        authentication_config, volume_config, max_container_restart_period, controllers_replicas, network_provider,
    )  # fmt: skip
    request = up_module.Request(Layout.of(directory), options, bind, port)
    if report_to is not None:
        with os.fdopen(report_to, "w", encoding="utf-8") as pipe:
            up_module.run_detached(request, pipe)
        return
    if not detach:
        up_module.run(request, echo)
        return
    try:
        up_module.start_detached(request, [word for word in sys.argv[2:] if word != "--detach"], echo)
    except up_module.AlreadyUp as already:
        echo(f"hn: {already.message}")
        return
    echo(f"up; admin: {request.layout.admin_kubeconfig}; stop with: hn down --dir {directory}")


def _with_absolute_file(named: str) -> str:
    """`NAME=FILE` means the same wherever a process runs."""
    name, separator, file = named.partition("=")
    return f"{name}={Path(file).resolve()}" if separator else named


def _store(value: str) -> str:
    scheme, separator, hosts = value.partition("://")
    if value == "sqlite" or (scheme == "etcd" and separator and hosts):
        return value
    raise click.BadParameter("must be `sqlite` or `etcd://HOST:PORT[,HOST:PORT…]`")


@main.command()
@dir_option
def down(directory: Path) -> None:
    """Stop the cluster in DIR and all its virtual machines; DIR stays, to continue from."""
    layout = Layout.of(directory)
    asyncio.run(bring_down(layout, echo))
    echo(f"stopped; {layout.root} has everything to continue from")


@main.command()
@dir_option
def status(directory: Path) -> None:
    """Say what of the cluster in DIR runs; exit code 1 where it doesn't."""
    echo(status_module.describe(Layout.of(directory)))


@main.group()
def tenant() -> None:
    """Tenants, and the credentials of their administrators."""


@tenant.command("create")
@click.argument("name")
@click.option("--service-cidr", metavar="CIDR", help="Range of the tenant's services; 10.254.0.0/16 if not given.")
@dir_option
def tenant_create(name: str, service_cidr: str | None, directory: Path) -> None:
    """Create tenant NAME and write DIR/tenants/NAME.kubeconfig."""
    layout = Layout.of(directory)
    tenants.check_name(name)

    async def create() -> tuple[Path, bool]:
        async with tenants.open_client(layout) as client:
            return await tenants.create(client, layout, name, service_cidr)

    path, created = run(create())
    echo(f"tenant {name} {'created' if created else 'exists already'}; its administrator: {path}")


@tenant.command("kubeconfig")
@click.argument("name")
@click.option("--user", help="User to write it for; the tenant's administrator if not given.")
@click.option("--group", "groups", multiple=True, help="Group of that user.")
@click.option("--token", is_flag=True, help="With a token of that user, whom `hn user create` made, for 12 hours.")
@dir_option
def tenant_kubeconfig(name: str, user: str | None, groups: tuple[str, ...], directory: Path, *, token: bool) -> None:
    """Write DIR/tenants/NAME.kubeconfig with a new certificate; earlier ones stay good until they end."""
    layout = Layout.of(directory)
    tenants.check_name(name)
    if token:
        if user is None or groups:
            raise CommandError("--token is for a --user, whose groups are those that they have")
        echo(str(with_client(directory, lambda client: tenants.write_token_kubeconfig(client, layout, name, user))))
        return
    credential = tenants.administrator(name) if user is None else tenants.Credential(name, user, groups)

    async def write() -> Path:
        async with tenants.open_client(layout) as client:
            return await tenants.write_kubeconfig(client, layout, credential)

    echo(str(run(write())))


@tenant.command("list")
@dir_option
def tenant_list(directory: Path) -> None:
    """List all tenants, with what they have."""
    layout = Layout.of(directory)

    async def list_all() -> list[tuple[str, ...]]:
        async with tenants.open_client(layout) as client:
            return [tenants.row(each) for each in await tenants.listing(client)]

    echo(table(tenants.COLUMNS, run(list_all())))


@tenant.command("suspend")
@click.argument("name")
@dir_option
def tenant_suspend(name: str, directory: Path) -> None:
    """Stop the pods of tenant NAME and make its API read-only."""
    _change_tenant(directory, name, suspended=True)
    echo(f"tenant {name} is suspended; its pods are being stopped")


@tenant.command("resume")
@click.argument("name")
@dir_option
def tenant_resume(name: str, directory: Path) -> None:
    """End the suspension of tenant NAME; what owned its pods makes them again."""
    _change_tenant(directory, name, suspended=False)
    echo(f"tenant {name} is resumed")


@tenant.command("protect")
@click.argument("name")
@dir_option
def tenant_protect(name: str, directory: Path) -> None:
    """Have every deletion of tenant NAME refused."""
    _change_tenant(directory, name, deletionProtection=True)
    echo(f"tenant {name} can't be deleted")


@tenant.command("unprotect")
@click.argument("name")
@dir_option
def tenant_unprotect(name: str, directory: Path) -> None:
    """Let tenant NAME be deleted again."""
    _change_tenant(directory, name, deletionProtection=False)
    echo(f"tenant {name} can be deleted")


@tenant.command("rotate-keys")
@click.argument("name")
@click.option("--at-once", is_flag=True, help="End all tokens that former keys have signed, as after one became known.")
@dir_option
def tenant_rotate_keys(name: str, directory: Path, *, at_once: bool) -> None:
    """Have another key sign the tokens of tenant NAME's service accounts; tell the keys that verify."""
    keys = with_client(directory, lambda client: tenants.rotate_keys(client, name, at_once=at_once))
    echo("\n".join(keys))


def _change_tenant(directory: Path, name: str, **spec: bool) -> None:
    layout = Layout.of(directory)
    tenants.check_name(name)

    async def change() -> None:
        async with tenants.open_client(layout) as client:
            await tenants.change(client, name, **spec)

    run(change())


@tenant.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Until it is gone, telling what is left.")
@dir_option
def tenant_delete(name: str, directory: Path, *, yes: bool, wait: bool) -> None:
    """Delete tenant NAME with everything it has."""
    layout = Layout.of(directory)
    tenants.check_name(name)
    if not yes:
        click.confirm(f"Delete tenant {name} with everything it has?", abort=True)

    async def delete() -> None:
        async with tenants.open_client(layout) as client:
            await tenants.delete(client, name, echo, wait=wait)

    run(delete())
    echo(f"tenant {name} is {'gone' if wait else 'being deleted'}")


@main.group()
def node() -> None:
    """Nodes, with the pods of all tenants on them."""


@node.command("cordon")
@click.argument("name")
@dir_option
def node_cordon(name: str, directory: Path) -> None:
    """Let no new pod come to node NAME."""
    _cordon(Layout.of(directory), name, cordoned=True)


@node.command("uncordon")
@click.argument("name")
@dir_option
def node_uncordon(name: str, directory: Path) -> None:
    """Let pods come to node NAME again."""
    _cordon(Layout.of(directory), name, cordoned=False)


def _cordon(layout: Layout, name: str, *, cordoned: bool) -> None:
    async def change() -> None:
        async with tenants.open_client(layout) as client:
            await nodes.cordon(client, name, cordoned=cordoned)

    run(change())
    echo(f"node {name} is {'cordoned' if cordoned else 'in use'}")


@node.command("drain")
@click.argument("name")
@click.option("--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds.")
@click.option("--force", is_flag=True, help="Evict pods, too, that nobody would make again.")
@dir_option
def node_drain(name: str, timeout: float, force: bool, directory: Path) -> None:
    """Cordon node NAME and evict the pods of all tenants from it, as their disruption budgets allow."""
    layout = Layout.of(directory)

    async def drain() -> nodes.Drained:
        async with tenants.open_client(layout) as client:
            return await nodes.drain(client, name, timeout=timeout, force=force, tell=echo)

    drained = run(drain())
    stay = f"; {drained.stay} of DaemonSets stay" if drained.stay else ""
    echo(f"node {name} is drained: {drained.evicted} pods evicted{stay}")


@node.command("shutdown")
@click.argument("name")
@click.option("--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds.")
@dir_option
def node_shutdown(name: str, timeout: float, directory: Path) -> None:
    """Before this machine is switched off: end the pods of its node NAME by priority, each within its grace period."""
    layout = Layout.of(directory)
    agent = nodes.agent_of(layout, name)

    async def shut_down() -> int:
        async with tenants.open_client(layout) as client:
            return await nodes.shut_down(client, name, agent, timeout=timeout)

    echo(f"node {name} can be switched off: {run(shut_down())} pods ended; `hn node uncordon {name}` when it is back")


@main.command()
@guest_option
@bind_option
@port_option
@click.option("--kubectl", default="kubectl", show_default=True)
def doctor(guest: Path, bind: str, port: int, kubectl: str) -> None:
    """Say what is missing on this machine to run a cluster; exit code 1 if anything is."""
    findings = doctor_module.examine(guest, bind, port, kubectl)
    echo(doctor_module.render(findings))
    if not all(finding.good for finding in findings):
        sys.exit(1)


if __name__ == "__main__":
    main()
