"""Says what is going on whenever something takes longer than two seconds."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import click

QUIET_SECONDS = 2.0  # what is quicker is not worth a line
REPEAT_SECONDS = 5.0

Report = Callable[[str], None]


def echo(line: str) -> None:
    """One line at once, also into a pipe."""
    click.echo(line)


@asynccontextmanager
async def waiting_for(what: str, report: Report, detail: Callable[[], str] = lambda: "") -> AsyncIterator[None]:
    """While the body runs: a line after two seconds, then one every five. `detail` says how it stands now."""

    async def tell() -> None:
        started = time.monotonic()
        await asyncio.sleep(QUIET_SECONDS)
        while True:
            report(f"waiting for {what}{_bracketed(detail())} … {time.monotonic() - started:.0f} s")
            await asyncio.sleep(REPEAT_SECONDS)

    teller = asyncio.create_task(tell())
    try:
        yield
    finally:
        teller.cancel()
        await asyncio.wait([teller])


def _bracketed(text: str) -> str:
    return f" ({text})" if text else ""
