"""Running the host's programs that a runtime needs."""

import asyncio

from hypernetes.nodeagent.runtime.base import MachineError

TOOL_SECONDS = 60.0


async def run(*argv: str, package: str) -> str:
    """What the program prints. Raises MachineError, which names the Debian package of one that is missing."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError as error:
        raise MachineError("ToolMissing", f"{argv[0]} is missing: apt-get install {package}") from error
    try:
        async with asyncio.timeout(TOOL_SECONDS):
            output, complaint = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        message = complaint.decode(errors="replace").strip()[-500:]
        raise MachineError("DiskFull" if "space" in message else "ToolFailed", f"{argv[0]} failed: {message}")
    return output.decode(errors="replace")
