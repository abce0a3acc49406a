"""A real RabbitMQ: Cinder's processes call each other by it. On the loopback, with a port mapper of its own."""

import contextlib
import socket
from pathlib import Path

from tests.integration.control_plane import free_port
from tests.openstack.daemons import Daemon

_USER = "openstack"
_ONE_THREAD = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"  # which doesn't spin while it waits


class RabbitMQ:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port, self._mapper_port, self._distribution_port = free_port(), free_port(), free_port()
        self.url = f"rabbit://{_USER}:{_USER}@127.0.0.1:{self._port}/"
        self._daemons: list[Daemon] = []
        (directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self._port}\n"
            f"default_user = {_USER}\ndefault_pass = {_USER}\n"
            "log.file.level = warning\n"
            "vm_memory_high_watermark.absolute = 512MB\ndisk_free_limit.absolute = 50MB\n"
        )
        (directory / "enabled_plugins").write_text("[].\n")

    def start(self) -> None:
        """Begins to start; `wait` returns when it takes connections."""
        # The broker would start a mapper that outlives it.
        mapper = ["epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1"]
        self._daemons.append(Daemon(mapper, self._directory / "epmd.log"))
        self._daemons.append(Daemon(
            ["/usr/lib/rabbitmq/bin/rabbitmq-server"], self._directory / "rabbitmq.log", self._variables(),
            stop_seconds=20,
        ))  # fmt: skip

    def wait(self) -> None:
        self._daemons[-1].wait(self._listens, "RabbitMQ")

    def stop(self) -> None:
        """Twice is no error."""
        while self._daemons:
            self._daemons.pop().stop()

    def _variables(self) -> dict[str, str]:
        own = {"MNESIA_BASE": "mnesia", "LOG_BASE": "log", "CONFIG_FILE": "rabbitmq", "PID_FILE": "pid"}
        return {
            **{f"RABBITMQ_{name}": str(self._directory / file) for name, file in own.items()},
            "HOME": str(self._directory),
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._directory / "enabled_plugins"),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false "
            + _ONE_THREAD,
        }

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=5):
            return True
        return False
