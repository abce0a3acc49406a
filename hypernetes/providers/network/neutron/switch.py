"""The node's Open vSwitch, by its own client `ovs-vsctl`: each call is one transaction of its database."""

import asyncio
import json
import os
import shutil

from hypernetes.providers.network.base import NetworkError

_WAIT_SECONDS = 30  # until the switch has done what its database says
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/bin", "/usr/sbin"))


class Switch:
    def __init__(self, database: str) -> None:
        self._database = database

    async def interfaces(self, **external_ids: str) -> dict[str, dict[str, str]]:
        """All external ids of those that have these, by the interface's name. Raises NetworkError."""
        conditions = [f'external_ids:"{key}"="{value}"' for key, value in external_ids.items()]
        said = await self.transact("--format=json", "--columns=name,external_ids", "find", "Interface", *conditions)
        return {name: {**dict(ids[1])} for name, ids in json.loads(said)["data"]}

    async def transact(self, *words: str) -> str:
        """What `ovs-vsctl` prints. Raises NetworkError."""
        program = shutil.which("ovs-vsctl", path=_PATH)
        if program is None:
            raise NetworkError("NoSwitch", "the program ovs-vsctl is missing; install openvswitch-switch")
        process = await asyncio.create_subprocess_exec(
            program, f"--timeout={_WAIT_SECONDS}", f"--db={self._database}", *words,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            output, complaint = await process.communicate()
        except asyncio.CancelledError:
            if process.returncode is None:
                process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            why = complaint.decode(errors="replace").strip() or f"no answer within {_WAIT_SECONDS} s"
            raise NetworkError("SwitchFailed", f"Open vSwitch at {self._database}: {why}")
        return output.decode()


def quoted(external_ids: dict[str, str]) -> list[str]:
    """Words of a `set` of an interface."""
    return [f"external_ids:{json.dumps(key)}={json.dumps(value)}" for key, value in external_ids.items()]
