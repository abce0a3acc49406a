"""`hn openstack check`: what an OpenStack lacks for Hypernetes, each with its fix."""

from pathlib import Path

import click

from hypernetes.cli.doctor import render
from hypernetes.cli.errors import CommandError
from hypernetes.cli.progress import echo
from hypernetes.providers.network.neutron import checking, configuration


@click.group()
def openstack() -> None:
    """Look at the OpenStack that tenants' networks are in."""


@openstack.command()
@click.option(
    "--network-provider", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True,
    metavar="FILE", help="The file of the network provider neutron.",
)  # fmt: skip
@click.option("--project", metavar="ID", help="A tenant's project, whose quotas to look at.")
def check(file: Path, project: str | None) -> None:
    """Credential, roles, catalogue, Neutron's extensions, hosts and quotas; fails where something is missing."""
    try:
        found = list(checking.findings(configuration.read(file), project))
    except ValueError as error:
        raise CommandError(str(error)) from error
    echo(render(found))
    if missing := [each for each in found if not each.good]:
        raise CommandError(f"{len(missing)} of {len(found)} are not as they should be")
