"""The parts of hn-apiserver can each be imported first: none leans on what another happened to import before."""

import subprocess
import sys
from pathlib import Path

import hypernetes.apiserver

PACKAGE = Path(hypernetes.apiserver.__file__).parent


def test_every_part_can_be_imported_first() -> None:
    packages = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())
    names = [f"hypernetes.apiserver.{part}" for part in ("server", "mirror", *packages)]
    # One process, for speed: each part is imported as if it were the first of ours.
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    for known in [each for each in sys.modules if each.startswith('hypernetes.apiserver')]:\n"
        "        del sys.modules[known]\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
