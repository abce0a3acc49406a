"""How commands ask the API server of a cluster, and what all of them have in common."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from hypernetes.api.status import StatusError
from hypernetes.cli.errors import CommandError
from hypernetes.cli.layout import Layout
from hypernetes.cli.tenants import open_client
from hypernetes.client import REQUEST_ERRORS, Client

Result = TypeVar("Result")

dir_option = click.option(
    "--dir", "directory", type=click.Path(path_type=Path, file_okay=False), default=Path("data"), show_default=True,
    help="Where the cluster keeps everything.",
)  # fmt: skip


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Does what asks the API server, with its refusals as sentences."""

    async def translated() -> Result:
        try:
            return await work
        except StatusError as error:
            raise CommandError(error.message) from error
        except REQUEST_ERRORS as error:
            raise CommandError(f"{error}; is the cluster up? (`hn status`)") from error

    return asyncio.run(translated())


def with_client(directory: Path, work: Callable[[Client], Coroutine[Any, Any, Result]]) -> Result:
    """What the provider's administrator does."""
    layout = Layout.of(directory)

    async def do() -> Result:
        async with open_client(layout) as client:
            return await work(client)

    return run(do())
