"""The command `hn credential`. kubectl runs it at every start: it imports little, and is a program of its own."""

import json
import os
from datetime import datetime

import click

from hypernetes.cli.identity import execcredential, tokens
from hypernetes.cli.identity.settings import Settings, cache_directory
from hypernetes.cli.identity.tokencache import TokenCache

cloud_option = click.option(
    "--os-cloud", "cloud", metavar="NAME", help="An entry of clouds.yaml; else what OS_CLOUD or the variables OS_… say."
)


@click.command()
@cloud_option
def credential(cloud: str | None) -> None:
    """Print a token as an ExecCredential: what kubectl runs after `hn login`."""
    settings, cache = settings_and_cache(cloud)
    known = tokens.token(settings, cache)
    asked = os.environ.get("KUBERNETES_EXEC_INFO")
    click.echo(json.dumps(execcredential.answer(asked, known.token, datetime.fromisoformat(known.expires_at))))


def settings_and_cache(cloud: str | None) -> tuple[Settings, TokenCache]:
    return Settings.of(cloud, os.environ), TokenCache(cache_directory(os.environ))


if __name__ == "__main__":
    credential()
