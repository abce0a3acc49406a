"""Builds the packages here as wheels and installs them by pip, beside the environment of the tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HERE = Path(__file__).parent


def install(package: str, work: Path) -> Path:
    """The directory that it is in."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    source = work / "source"
    subprocess.run(["cp", "-r", _HERE / package, source], check=True)  # building leaves files there
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", work, source], check=True)
    [wheel] = work.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", work / "installed", wheel], check=True)
    return work / "installed"


@contextmanager
def reachable(directory: Path) -> Iterator[None]:
    """For this process and those it starts."""
    former = os.environ.get("PYTHONPATH")
    sys.path.insert(0, str(directory))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(directory), former)))
    try:
        yield
    finally:
        sys.path.remove(str(directory))
        if former is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = former
