"""A provider that does what it was told in a file, as a package of its own would be found."""

from pathlib import Path

_CODE = """
import asyncio, os, time
from hypernetes.providers.network.base import EnsuredNetwork, NetworkError

class Unruly:
    binds_ports = False

    def __init__(self, cluster_id, node_name, state_dir, node_address="", configuration=None):
        self._mood = configuration

    async def ensure_network(self, network, used_segments):
        mood = self._mood.read_text().strip()
        if mood == "hangs":
            await asyncio.Event().wait()
        if mood == "blocks":
            time.sleep(1000)
        if mood == "raises":
            raise RuntimeError("out of ideas")
        if mood == "refuses":
            raise NetworkError("Full", "no room; make some")
        if mood == "exits":
            os._exit(7)
        if mood == "leaves":
            raise SystemExit(8)
        if mood == "lies":
            return "network"
        return EnsuredNetwork(segment_id=len(used_segments) + 1)

    async def open(self): pass
    async def close(self, *, remove): pass
    async def sweep(self, keep): pass
    async def delete_network(self, network): pass
"""


def install(directory: Path) -> None:
    about = directory / "unruly-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: unruly\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[hypernetes.providers.network]\nunruly = unruly_provider:Unruly\n")
    (directory / "unruly_provider.py").write_text(_CODE)
