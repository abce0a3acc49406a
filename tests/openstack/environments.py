"""Where the OpenStack services of the tests are installed: virtual environments, by what they hold.

Each has a lock here, which pip-compile makes of the file `.in` beside it: `requirements.lock` is that of all services
but Cinder. It lies in `build/openstack`, named by the hash of its lock, and is made once; another lock makes another.

`python -m tests.openstack.environments` makes those that are missing: no test's time is taken for it.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

SHARED, CINDER = "requirements", "cinder"
_HERE = Path(__file__).parent
_BUILD = _HERE.parents[1] / "build" / "openstack"
_COMPLETE = "complete"  # the last thing that is written


def cached(name: str, lock: str = SHARED) -> Path:
    """A path for something that is made of the services as they are locked, and kept."""
    _BUILD.mkdir(parents=True, exist_ok=True)
    return _BUILD / f"{name}-{digest(lock)}"


def digest(lock: str) -> str:
    return hashlib.sha256((_HERE / f"{lock}.lock").read_bytes()).hexdigest()[:12]


def installed(lock: str = SHARED) -> Path:
    """The environment of a lock, made if it isn't there. Who comes meanwhile waits."""
    environment = cached("venv", lock)
    with environment.with_suffix(".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (environment / _COMPLETE).exists():
            shutil.rmtree(environment, ignore_errors=True)
            _make(environment, lock)
            (environment / _COMPLETE).touch()
    return environment


def _make(environment: Path, lock: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", _HERE / f"{lock}.lock"], check=True)


if __name__ == "__main__":
    for each in (SHARED, CINDER):
        installed(each)
