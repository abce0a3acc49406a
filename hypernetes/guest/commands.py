"""Running the tools of a build, with errors that say which Debian package is missing."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

DEBIAN_PACKAGES = {
    "apt-cache": "apt",
    "apt-get": "apt",
    "bc": "bc",
    "bison": "bison libelf-dev",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
    "gcc": "gcc libc6-dev libnftables-dev",
    "flex": "flex",
    "haproxy": "haproxy",
    "ldd": "libc-bin",
    "lz4": "lz4",
    "make": "make",
    "mke2fs": "e2fsprogs",
    "mksquashfs": "squashfs-tools",
    "musl-gcc": "musl-tools",
    "patch": "patch",
    "strip": "binutils",
    "tar": "tar",
    "xz": "xz-utils",
}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEADLINE_SECONDS = 600.0  # a download of 26 MB on a slow line is the longest


class BuildError(Exception):
    """The guest can't be built; the message says what to do."""


def find(tool: str) -> Path:
    """The path of a tool. Raises BuildError naming the Debian package that has it."""
    path = shutil.which(tool, path=SYSTEM_PATH)
    if path is None:
        package = DEBIAN_PACKAGES.get(tool, tool)
        raise BuildError(f"the tool {tool} is missing: install it by apt-get install {package}")
    return Path(path)


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = DEADLINE_SECONDS,
) -> bytes:
    """Runs a tool and returns its standard output. Raises BuildError with the end of its complaint."""
    command = [str(find(str(argv[0]))), *map(str, argv[1:])]
    environment = {"PATH": SYSTEM_PATH, "LC_ALL": "C", **(env or {})}
    try:
        done = subprocess.run(
            command, cwd=cwd, input=stdin, env=environment, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{' '.join(command)} did not end within {seconds:.0f} s") from error
    if done.returncode != 0:
        complaint = (done.stderr or done.stdout).decode(errors="replace").strip()[-2000:]
        raise BuildError(f"{' '.join(command)} failed with exit code {done.returncode}: {complaint}")
    return done.stdout
