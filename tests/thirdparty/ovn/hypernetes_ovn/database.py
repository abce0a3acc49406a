"""A database of OVN's or Open vSwitch's by its own client: each call is one transaction."""

import asyncio
import json

from hypernetes.providers.network.base import NetworkError

_SECONDS = 15


class Database:
    def __init__(self, program: str, remote: str) -> None:
        self._program, self._remote = program, remote

    async def transact(self, *commands: list[str], options: tuple[str, ...] = ()) -> str:
        """What the client prints. Raises NetworkError."""
        words = [word for command in commands for word in (*command, "--")][:-1]
        argv = (self._program, f"--timeout={_SECONDS}", f"--db={self._remote}", *options, "--", *words)
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        except FileNotFoundError as error:
            raise NetworkError("NoClient", f"{self._program} is missing; install ovn-common") from error
        try:
            output, complaint = await process.communicate()
        except asyncio.CancelledError:
            if process.returncode is None:
                process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            why = complaint.decode(errors="replace").strip() or f"no answer within {_SECONDS} s"
            raise NetworkError("DatabaseFailed", f"{self._program} at {self._remote}: {why}")
        return output.decode()

    async def find(self, table: str, columns: str, **external_ids: str) -> list[list[object]]:
        """Rows with these external ids. Raises NetworkError."""
        conditions = [f'external_ids:"{key.replace("_", "-")}"="{value}"' for key, value in external_ids.items()]
        said = await self.transact([f"--columns={columns}", "find", table, *conditions], options=("--format=json",))
        rows: list[list[object]] = json.loads(said)["data"] if said.strip() else []
        return rows


def mapping(value: object) -> dict[str, str]:
    """A column that is a map, as the client's JSON has it."""
    return dict(value[1]) if isinstance(value, list) else {}


def several(value: object) -> list[str]:
    """A column that is a set of UUIDs."""
    kind, found = value if isinstance(value, list) else ("set", [])
    return [found] if kind == "uuid" else [each[1] for each in found]
