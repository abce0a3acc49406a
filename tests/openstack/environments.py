"""Where the OpenStack services of the tests are installed: a virtual environment of their own, by what it holds.

It lies in `build/openstack`, named by the hash of `requirements.lock`, and is made once; another lock makes another.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

_LOCK = Path(__file__).with_name("requirements.lock")
_BUILD = Path(__file__).parents[2] / "build" / "openstack"
_COMPLETE = "complete"  # the last thing that is written


def cached(name: str) -> Path:
    """A path for something that is made of the services as they are locked, and kept."""
    _BUILD.mkdir(parents=True, exist_ok=True)
    return _BUILD / f"{name}-{hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:12]}"


def installed() -> Path:
    """The environment, made if it isn't there. Who comes meanwhile waits."""
    environment = cached("venv")
    with environment.with_suffix(".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (environment / _COMPLETE).exists():
            shutil.rmtree(environment, ignore_errors=True)
            _make(environment)
            (environment / _COMPLETE).touch()
    return environment


def _make(environment: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", _LOCK], check=True)
