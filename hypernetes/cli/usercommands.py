"""The commands below `hn user`."""

import sys
from pathlib import Path

import click

from hypernetes.api.models.hypernetes_v1 import User
from hypernetes.cli import users
from hypernetes.cli.asking import dir_option, run, with_client
from hypernetes.cli.progress import echo
from hypernetes.cli.tables import table


@click.group()
def user() -> None:
    """People of a tenant whom the cluster knows by itself: their passwords and tokens."""


hours_option = click.option(
    "--hours",
    type=click.FloatRange(min=1 / 6, max=720),
    default=12.0,
    show_default=True,
    help="How long it is good for.",
)
stdin_option = click.option("--stdin", is_flag=True, help="Read the password from standard input, and don't ask.")


@user.command("create")
@click.argument("tenant")
@click.argument("name")
@click.option("--group", "groups", multiple=True, help="Group that they are in.")
@click.option("--display-name", help="What people call them.")
@dir_option
def user_create(tenant: str, name: str, groups: tuple[str, ...], display_name: str | None, directory: Path) -> None:
    """Create user NAME of TENANT, who can't come in before there is a password or a token."""
    with_client(directory, lambda client: users.create(client, tenant, name, groups, display_name))
    echo(f"user {name} of tenant {tenant} created; give them a password with: hn user passwd {tenant} {name}")


@user.command("list")
@click.argument("tenant")
@dir_option
def user_list(tenant: str, directory: Path) -> None:
    """List the users of TENANT."""
    echo(table(users.COLUMNS, with_client(directory, lambda client: users.listing(client, tenant))))


@user.command("passwd")
@click.argument("tenant")
@click.argument("name")
@click.option("--server", metavar="URL", help="Of the API, to change a password by giving the one that there is.")
@click.option("--ca", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The authority of --server.")
@stdin_option
@dir_option
def user_passwd(
    tenant: str, name: str, server: str | None, ca: Path | None, directory: Path, *, stdin: bool
) -> None:  # fmt: skip
    """Give user NAME of TENANT a password; all their tokens end.

    The provider does so from the cluster's directory. The user does so from anywhere, with --server and --ca: they are
    asked for the password that they have first (with --stdin, it is the first of two lines).
    """
    if (server is None) is not (ca is None):
        raise click.UsageError("--server and --ca are given together")
    if server is None or ca is None:
        password = _password(confirm=True, stdin=stdin)
        with_client(directory, lambda client: users.set_password(client, tenant, name, password))
    else:
        old = _password("Current password", confirm=False, stdin=stdin)
        new = _password("New password", confirm=True, stdin=stdin)
        run(users.change_password(server, ca.read_bytes(), tenant, name, old, new))
    echo(f"user {name} of tenant {tenant} has a new password")


@user.command("token")
@click.argument("tenant")
@click.argument("name")
@hours_option
@dir_option
def user_token(tenant: str, name: str, hours: float, directory: Path) -> None:
    """Print a new token of user NAME of TENANT."""
    echo(with_client(directory, lambda client: users.token(client, tenant, name, round(hours * 3600))))


@user.command("revoke")
@click.argument("tenant")
@click.argument("name")
@dir_option
def user_revoke(tenant: str, name: str, directory: Path) -> None:
    """End all tokens of user NAME of TENANT."""
    with_client(directory, lambda client: users.revoke(client, tenant, name))
    echo(f"the tokens of user {name} of tenant {tenant} have ended")


@user.command("disable")
@click.argument("tenant")
@click.argument("name")
@dir_option
def user_disable(tenant: str, name: str, directory: Path) -> None:
    """Let neither password nor tokens of user NAME of TENANT count."""
    with_client(directory, lambda client: client.patch(User, name, {"spec": {"disabled": True}}, tenant=tenant))
    echo(f"user {name} of tenant {tenant} is disabled")


@user.command("enable")
@click.argument("tenant")
@click.argument("name")
@dir_option
def user_enable(tenant: str, name: str, directory: Path) -> None:
    """Let password and tokens of user NAME of TENANT count again."""
    with_client(directory, lambda client: client.patch(User, name, {"spec": {"disabled": False}}, tenant=tenant))
    echo(f"user {name} of tenant {tenant} is enabled")


@user.command("delete")
@click.argument("tenant")
@click.argument("name")
@dir_option
def user_delete(tenant: str, name: str, directory: Path) -> None:
    """Delete user NAME of TENANT, with their password and tokens."""
    with_client(directory, lambda client: client.delete(User, name, tenant=tenant))
    echo(f"user {name} of tenant {tenant} is deleted")


@user.command("login")
@click.argument("tenant")
@click.argument("name")
@click.option("--server", required=True, metavar="URL", help="Of the API.")
@click.option(
    "--ca", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True, help="Its authority."
)
@click.option("--kubeconfig", "target", type=click.Path(path_type=Path, dir_okay=False), required=True)
@hours_option
@stdin_option
def user_login(tenant: str, name: str, server: str, ca: Path, target: Path, hours: float, *, stdin: bool) -> None:
    """Log in as user NAME of TENANT and write a kubeconfig with the token."""
    password = _password(confirm=False, stdin=stdin)
    content = run(users.login(server, ca.read_bytes(), tenant, name, password, round(hours * 3600)))
    users.write_kubeconfig(target, content, tenant, name)
    echo(str(target))


def _password(question: str = "Password", *, confirm: bool, stdin: bool) -> str:
    if stdin:
        return sys.stdin.readline().rstrip("\n")
    answer: str = click.prompt(question, hide_input=True, confirmation_prompt=confirm)
    return answer
