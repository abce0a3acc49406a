"""`hn-apiserver`: reads its flags, opens the store, serves until it is told to stop."""

import asyncio
import logging
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import click
import orjson
import structlog
import uvloop

from hypernetes.apiserver import identityflags, memory, requestlog
from hypernetes.apiserver.audit.options import AuditError, AuditSettings, audit_options, settings
from hypernetes.apiserver.authn import static_tokens
from hypernetes.apiserver.authn.static_tokens import TokenFileError
from hypernetes.apiserver.identityflags import Flags
from hypernetes.apiserver.server import Settings, prepare_certificates, running
from hypernetes.apiserver.storage.base import CannotOpen
from hypernetes.apiserver.storage.compaction import compact_regularly
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.pki import CertificateError, PkiDirectory
from hypernetes.providers.identity.base import ConfigurationError

log = structlog.get_logger()

_LEVELS = ("debug", "info", "warning", "error")


class CannotStart(Exception):
    """Why the server can't start, in a sentence for whoever started it."""


_CAUSES = (CannotStart, CannotOpen, OSError, CertificateError, ConfigurationError, TokenFileError, AuditError)


@click.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="the cluster's directory")  # fmt: skip
@click.option("--bind", default="127.0.0.1", show_default=True, help="the address to listen on")
@click.option("--port", default=6443, show_default=True, type=click.IntRange(0, 65535))
@click.option("--store", default="sqlite", show_default=True, help="sqlite, or etcd://host:port,host:port")
@click.option("--log-level", default="info", show_default=True, type=click.Choice(_LEVELS))
@click.option(
    "--request-log",
    default=requestlog.SLOW,
    show_default=True,
    type=click.Choice(requestlog.LEVELS),
    help="which requests get a line: slow ones, all writes too, or all; failures of the server always do",
)
@identityflags.options
@audit_options
def main(directory: Path, bind: str, port: int, store: str, log_level: str, request_log: str, **others: Any) -> None:
    """Serves the Kubernetes API of all tenants."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, log_level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    _allow_files()
    memory.tune()
    try:
        flags, audit = identityflags.taken(others), settings(**others)
        uvloop.run(_serve(directory, bind, port, store, request_log, flags, audit))
    except* _CAUSES as errors:
        first = errors.exceptions[0]
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise click.ClickException(f"hn-apiserver can't start: {first}") from first


def _allow_files() -> None:
    """As many open files as this process may have: each client is one, and the usual limit is 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(
    directory: Path, bind: str, port: int, location: str, request_log: str, flags: Flags, audit: AuditSettings | None
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    cluster_id = _cluster_id(directory)
    pki = PkiDirectory(directory / "pki", cluster_id)
    tokens = static_tokens.load(directory / "tokens.csv")
    sources = identityflags.sources(flags)
    serves = Settings(
        cluster_id, pki, bind, port, tokens, request_log, front_proxy=sources.front_proxy,
        allows_anonymous=sources.allows_anonymous, identity_providers=sources.providers, audit=audit,
    )  # fmt: skip
    prepare_certificates(pki, bind)
    if location == "sqlite":
        (directory / "store").mkdir(exist_ok=True)
        location = str(directory / "store" / "state.db")
    store = await open_store(location)
    try:
        async with (
            running(serves, store),
            asyncio.TaskGroup() as tasks,
        ):
            memory.loaded()
            compacting = tasks.create_task(compact_regularly(store))
            await stop.wait()
            compacting.cancel()
            log.info("stopping")
    finally:
        await store.close()


def _cluster_id(directory: Path) -> str:
    """The id that `hn up` wrote. Raises CannotStart."""
    path = directory / "cluster.json"
    try:
        found = orjson.loads(path.read_bytes())["id"]
    except FileNotFoundError:
        raise CannotStart(f"{path} is missing; `hn up --dir {directory}` makes a cluster") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CannotStart(f"{path} is damaged: {error!r}") from error
    if not isinstance(found, str) or not found.isalnum():
        raise CannotStart(f"{path} is damaged: its id is {found!r}")
    return found
