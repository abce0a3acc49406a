"""An agent that plugs and unplugs until it is killed: `python -m …plugging CLUSTER_ID`."""

import asyncio
import os
import sys
from pathlib import Path

from hypernetes.providers.network.local import LocalNetworkProvider

from .suite import network, port


async def main(cluster_id: str) -> None:
    provider = LocalNetworkProvider(cluster_id, "node-1", Path("."))
    await provider.open()
    print("open", flush=True)
    while True:
        for tenant in ("acme", "globex"):
            for address in ("10.0.0.5", "10.0.0.6"):
                spec = port(network(tenant), address)
                os.close((await provider.plug(spec)).tap_fd)
                await provider.unplug(spec.id)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
