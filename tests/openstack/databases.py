"""MariaDB for the services whose migrations SQLite can't do: no port, no password, a socket only root reaches."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.openstack import environments
from tests.openstack.daemons import Daemon, run
from tests.openstack.gunicorns import variables

# What brings a service's database to its schema: its lock, and a command.
_MIGRATIONS: Mapping[str, tuple[str, ...]] = {
    "cinder": (environments.CINDER, "cinder-manage", "db", "sync"),
    "neutron": (environments.SHARED, "neutron-db-manage", "upgrade", "heads"),
    "octavia": (environments.SHARED, "octavia-db-manage", "upgrade", "head"),
}


class MariaDB:
    """With the databases of Cinder, Neutron and Octavia in it, empty but for their schema."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        shutil.copytree(_prepared(), directory, dirs_exist_ok=True)
        self._daemon: Daemon | None = None

    def url(self, service: str) -> str:
        return url(self.directory, service)

    def start(self) -> None:
        self._daemon = _started(self.directory)

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.stop()


def url(directory: Path, service: str) -> str:
    return f"mysql+pymysql://root@localhost/{service}?unix_socket={directory}/mysql.sock&charset=utf8mb4"


def _started(directory: Path) -> Daemon:
    (directory / "my.cnf").write_text(
        f"[mysqld]\nuser=root\ndatadir={directory}/data\nsocket={directory}/mysql.sock\ntmpdir={directory}\n"
        f"pid-file={directory}/mysqld.pid\nskip-networking\nskip-grant-tables\nskip-name-resolve\nskip-log-bin\n"
        "character-set-server=utf8mb4\nmax_connections=400\nperformance_schema=OFF\n"
        "innodb_buffer_pool_size=64M\ninnodb_log_file_size=8M\ninnodb_flush_log_at_trx_commit=0\n"
        "innodb_doublewrite=0\ninnodb_file_per_table=0\n"
    )
    daemon = Daemon(["mariadbd", f"--defaults-file={directory}/my.cnf"], directory / "mariadbd.log", stop_seconds=30)
    daemon.wait(_answering(directory), "MariaDB")
    return daemon


def _answering(directory: Path) -> Callable[[], bool]:
    ping = ["mariadb-admin", "-S", directory / "mysql.sock", "ping"]
    return lambda: subprocess.run(ping, capture_output=True, timeout=30).returncode == 0


def _prepared() -> Path:
    """A directory with all databases, made once: migrations take half a minute."""
    prepared = environments.cached(f"mariadb-{environments.digest(environments.CINDER)}")
    if prepared.exists():
        return prepared
    making = prepared.with_suffix(f".{os.getpid()}")
    making.mkdir(mode=0o700)
    run(["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={making}/data", "--skip-test-db"])
    daemon = _started(making)
    try:
        for service in _MIGRATIONS:
            run(["mariadb", "-S", making / "mysql.sock", "-e", f"CREATE DATABASE {service}"])
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda service: _migrate(making, service), _MIGRATIONS))
    finally:
        daemon.stop()
    try:
        making.rename(prepared)
    except OSError:  # somebody else was faster
        shutil.rmtree(making)
    return prepared


def _migrate(directory: Path, service: str) -> None:
    configuration = directory / f"{service}.conf"
    configuration.write_text(
        f"[DEFAULT]\ntransport_url = fake://\ncore_plugin = ml2\n[database]\nconnection = {url(directory, service)}\n"
    )
    lock, command, *rest = _MIGRATIONS[service]
    environment = environments.installed(lock)
    run(
        [environment / "bin" / command, "--config-file", configuration, *rest],
        {**os.environ, **variables(environment, directory)},
    )
