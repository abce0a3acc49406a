"""Debian packages: downloaded by apt-get, unpacked by dpkg-deb; nothing is installed."""

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from demoimages.errors import ImagesError

DOWNLOAD_TIMEOUT = 600.0  # seconds
UNPACK_TIMEOUT = 120.0


def _run(arguments: Sequence[str], directory: Path, timeout: float) -> str:
    program = shutil.which(arguments[0])
    if program is None:
        raise ImagesError(f"{arguments[0]} is missing: the demo images are made on Debian")
    try:
        done = subprocess.run(
            [program, *arguments[1:]],
            cwd=directory,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise ImagesError(f"`{' '.join(arguments)}` took over {timeout:.0f} s; is the mirror reachable?") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()[-1:] or ["no reason given"]
        message = f"`{' '.join(arguments)}` failed: {said[0]}; try again after `apt-get update`"
        raise ImagesError(message) from error
    return done.stdout


def architecture() -> str:
    """Debian's name for it, which is the OCI's too for what we run on: amd64, arm64."""
    return _run(["dpkg", "--print-architecture"], Path.cwd(), UNPACK_TIMEOUT).strip()


def download(names: Sequence[str], directory: Path) -> dict[str, Path]:
    """The packages' files in `directory`, by package name; apt checks them against the archive's signed hashes."""
    directory.mkdir(parents=True, exist_ok=True)
    options = ["-q", "-o", "APT::Sandbox::User=root"]  # apt's own user can't write here
    _run(["apt-get", *options, "download", *names], directory, DOWNLOAD_TIMEOUT)
    # Of several versions of one package the newest: apt keeps the archive's times.
    newest = functools.partial(max, key=lambda path: path.stat().st_mtime)
    return {name: newest(directory.glob(f"{name}_*.deb")) for name in names}


def unpack(package: Path, directory: Path) -> None:
    """Adds the package's files to the tree in `directory`."""
    _run(["dpkg-deb", "--extract", str(package), str(directory)], directory, UNPACK_TIMEOUT)


def version(package: Path) -> str:
    return _run(["dpkg-deb", "--field", str(package), "Version"], package.parent, UNPACK_TIMEOUT).strip()
