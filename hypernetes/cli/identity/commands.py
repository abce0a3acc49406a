"""The command `hn login`."""

import asyncio
import os
from pathlib import Path

import click

from hypernetes.cli.asking import dir_option, run
from hypernetes.cli.errors import CommandError
from hypernetes.cli.identity import login as logging_in
from hypernetes.cli.identity import tokens
from hypernetes.cli.identity.credential import cloud_option, settings_and_cache
from hypernetes.cli.progress import echo
from hypernetes.client import kubeconfig


@click.command()
@cloud_option
@click.option("--server", "url", metavar="URL", help="The API server; that of the cluster in DIR if not given.")
@click.option(
    "--certificate-authority", "authority", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Whom to trust about the server.",
)  # fmt: skip
@click.option(
    "--kubeconfig", "file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Where the context goes; the first of KUBECONFIG, else ~/.kube/config, if not given.",
)  # fmt: skip
@dir_option
def login(cloud: str | None, url: str | None, authority: Path | None, file: Path | None, directory: Path) -> None:
    """Log in with your Keystone credential: kubectl is then you, in your project's tenant."""
    settings, cache = settings_and_cache(cloud)
    where = logging_in.server(url, authority, directory)
    known = tokens.token(settings, cache, anew=True)
    who = run(logging_in.person(where, known.token, asyncio.sleep))
    path = file or _kubeconfig()
    try:
        kubeconfig.merge(path, logging_in.entries(where, who, settings), current=who.tenant)
    except (OSError, kubeconfig.KubeconfigError) as error:
        raise CommandError(f"{path} can't be written: {error}") from error
    echo(f"{who.name} in tenant {who.tenant}; context {who.tenant} of {path}")


def _kubeconfig() -> Path:
    first = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(first or "~/.kube/config").expanduser()
