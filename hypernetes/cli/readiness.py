"""Waits for the API server and for nodes, as any client would see them."""

import asyncio
from collections.abc import Collection

from hypernetes.api.models.core_v1 import Node
from hypernetes.cli.errors import CommandError
from hypernetes.cli.progress import Report, waiting_for
from hypernetes.client import REQUEST_ERRORS, Client

APISERVER_SECONDS = 60.0
NODE_SECONDS = 180.0
POLL_SECONDS = 0.25


async def wait_for_apiserver(client: Client, report: Report) -> None:
    """Until /readyz says ok. Raises CommandError after a minute."""
    last = "no answer yet"
    try:
        async with asyncio.timeout(APISERVER_SECONDS), waiting_for("the API server", report, lambda: last):
            while True:
                try:
                    await client.text("/readyz", timeout=2.0)
                    return
                except REQUEST_ERRORS as error:
                    last = str(error)
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise CommandError(f"the API server is not ready after {APISERVER_SECONDS:.0f} s: {last}") from None


async def wait_for_nodes(client: Client, names: Collection[str], report: Report) -> None:
    """Until every node is Ready. Raises CommandError after three minutes."""
    last = "not registered yet"
    try:
        async with asyncio.timeout(NODE_SECONDS), waiting_for(_named(names), report, lambda: last):
            while True:
                try:
                    nodes = (await client.list(Node, timeout=5.0)).items
                    missing = not_ready(nodes, names)
                    if not missing:
                        return
                    last = "; ".join(f"{name}: {why}" for name, why in missing.items())
                except REQUEST_ERRORS as error:
                    last = str(error)
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise CommandError(f"{_named(names)} not ready after {NODE_SECONDS:.0f} s: {last}") from None


def not_ready(nodes: Collection[Node], names: Collection[str]) -> dict[str, str]:
    """Those of `names` that aren't Ready, and why."""
    found = {node.metadata.name: node for node in nodes}
    missing: dict[str, str] = {}
    for name in names:
        node = found.get(name)
        if node is None:
            missing[name] = "not registered yet"
            continue
        ready = next((condition for condition in node.status.conditions if condition.type == "Ready"), None)
        if ready is None or ready.status != "True":
            missing[name] = (ready and ready.message) or "not ready yet"
    return missing


def _named(names: Collection[str]) -> str:
    return f"node {', '.join(names)}" if len(names) == 1 else f"nodes {', '.join(names)}"
