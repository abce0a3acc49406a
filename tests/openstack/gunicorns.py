"""An API of OpenStack's as gunicorn runs it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.openstack.daemons import Daemon, answers

# oslo reads the command line at import
_APPLICATION = """
import sys
sys.argv = ["{name}-api", "--config-file", "{configuration}"]
from {name}.wsgi.api import application
"""


def variables(environment: Path, directory: Path) -> dict[str, str]:
    """Of all processes of a service: Neutron keeps marks in its temporary directory by the pid of its parent."""
    scratch = directory / "tmp"
    scratch.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    return {
        **kept, "PATH": f"{environment / 'bin'}{os.pathsep}{kept['PATH']}", "TMPDIR": str(scratch),
        "PYTHONWARNINGS": "ignore", "ASGI_WORKERS": "1",
    }  # fmt: skip


def serve(
    name: str, environment: Path, configuration: Path, port: int, more: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
) -> Daemon:  # fmt: skip
    """Starts the API `name` on a port of the loopback; it answers when this returns. `before` begins its command."""
    directory = configuration.parent
    (directory / f"served_{name}.py").write_text(_APPLICATION.format(name=name, configuration=configuration))
    daemon = Daemon(
        [*before, environment / "bin" / "gunicorn", "--workers", "1", "--worker-class", "gthread", "--threads", "8",
         "--timeout", "300", "--graceful-timeout", "2", "--no-control-socket", "--worker-tmp-dir", "/dev/shm",
         "--bind", f"127.0.0.1:{port}", f"served_{name}:application"],
        directory / f"{name}-api.log", {**variables(environment, directory), **(more or {})},
    )  # fmt: skip
    try:
        daemon.wait(lambda: answers(f"http://127.0.0.1:{port}/"), f"the API of {name}")
    except BaseException:
        daemon.stop()
        raise
    return daemon
