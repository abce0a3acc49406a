"""A real Ceph: one monitor, manager and OSD with a pool of block devices. A test may stop each and start it again."""

import json
import uuid
from pathlib import Path

from tests.integration.control_plane import free_port
from tests.openstack.daemons import Daemon, run, until

POOL = "volumes"
_OSD_BYTES = 10 << 30  # of a sparse file
_CONFIGURATION = """[global]
fsid = {fsid}
mon_host = {mons}
public_addr = {address}
cluster_addr = {address}
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_crush_chooseleaf_type = 0
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_delete = true
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_warn = 2
mon_data_avail_crit = 1
mon_data = {directory}/mon
mgr_data = {directory}/mgr
osd_data = {directory}/osd
admin_socket =
log_file = {directory}/$name.log
crash_dir = {directory}/crash
mgr_initial_modules =
osd_objectstore = bluestore
bluestore_block_size = {osd_bytes}
bluestore_cache_autotune = false
bluestore_cache_size = 67108864
osd_memory_target = 939524096
[client]
keyring = {directory}/$cluster.$name.keyring
log_file =
"""


class Ceph:
    """Its daemons listen on `address`, of the loopback unless nodes elsewhere shall reach it."""

    def __init__(self, directory: Path, address: str = "127.0.0.1") -> None:
        self.directory, self.address = directory, address
        self.fsid = str(uuid.uuid4())
        self.port = free_port()  # of the monitor, for version 1 of the protocol, which Cinder tells of
        self._mons = f"[v2:{address}:{free_port()},v1:{address}:{self.port}]"
        self.configuration = directory / "ceph.conf"
        self._daemons: dict[str, Daemon] = {}

    def start(self) -> None:
        """From nothing. Returns when the pool `volumes` can be used."""
        for name in ("mon", "mgr", "osd", "crash"):
            (self.directory / name).mkdir(parents=True)
        self.configuration.write_text(_CONFIGURATION.format(
            fsid=self.fsid, mons=self._mons, address=self.address, directory=self.directory, osd_bytes=_OSD_BYTES
        ))  # fmt: skip
        self._make_monitor()
        self.run("mon")
        osd = str(uuid.uuid4())
        self._keyring("osd.0", "osd", mon="allow profile osd", mgr="allow profile osd", osd="allow *")
        self.ceph("osd", "new", osd)
        self._make("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.run("osd")
        self._keyring("mgr.a", "mgr", mon="allow profile mgr", osd="allow *")
        self.run("mgr")
        self.ceph("osd", "set-require-min-compat-client", "mimic")  # clones whose snapshots may be deleted
        self.ceph("osd", "pool", "create", POOL, "8", "8")
        self.ceph("osd", "pool", "application", "enable", POOL, "rbd")
        until(self.healthy, "Ceph's placement groups are active", seconds=120)
        self.rbd("pool", "init", POOL)

    def run(self, kind: str) -> None:
        """Starts its `mon`, `osd` or `mgr`."""
        id = {"mon": "a", "osd": "0", "mgr": "a"}[kind]
        command = [f"ceph-{kind}", "-f", "-c", self.configuration, "-i", id]
        self._daemons[kind] = Daemon(command, self.directory / f"{kind}.out", stop_seconds=15)

    def halt(self, kind: str) -> None:
        """Stops that one."""
        self._daemons.pop(kind).stop()

    def stop(self) -> None:
        """Twice is no error."""
        for kind in list(self._daemons):
            self.halt(kind)

    def healthy(self) -> bool:
        """Whether all placement groups can be read and written."""
        states = json.loads(self.ceph("pg", "stat", "-f", "json"))["pg_summary"]
        groups = [(each["name"], each["num"]) for each in states["num_pg_by_state"]]
        return sum(count for _, count in groups) > 0 and all(name == "active+clean" for name, _ in groups)

    def user(self, name: str, **capabilities: str) -> Path:
        """Makes `client.<name>`; its keyring, where clients look for it."""
        path = self.keyring(name)
        words = [word for kind, what in capabilities.items() for word in (kind, what)]
        self.ceph("auth", "get-or-create", f"client.{name}", *words, "-o", str(path))
        return path

    def keyring(self, user: str) -> Path:
        return self.directory / f"ceph.client.{user}.keyring"

    def ceph(self, *arguments: str) -> str:
        """The administrator's client."""
        return run(["ceph", "-c", self.configuration, "--connect-timeout", "60", *arguments])

    def rbd(self, *arguments: str) -> str:
        return run(["rbd", "-c", self.configuration, *arguments])

    def images(self) -> set[str]:
        """Names in the pool."""
        return set(json.loads(self.rbd("ls", POOL, "--format", "json")))

    def blocklisted(self) -> set[str]:
        """The addresses of clients that may not write any more."""
        return set(json.loads(self.ceph("osd", "dump", "-f", "json"))["blocklist"])

    def _make_monitor(self) -> None:
        keys, map = self.directory / "mon.keyring", self.directory / "monmap"
        admin = self.directory / "ceph.client.admin.keyring"
        run(["ceph-authtool", "-C", keys, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"])
        everything = [word for kind in ("mon", "osd", "mgr") for word in ("--cap", kind, "allow *")]
        run(["ceph-authtool", "-C", admin, "--gen-key", "-n", "client.admin", *everything])
        run(["ceph-authtool", keys, "--import-keyring", admin])
        run(["monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", self._mons, map])
        self._make("ceph-mon", "--mkfs", "-i", "a", "--monmap", map, "--keyring", keys)

    def _make(self, *command: str | Path) -> None:
        program, *rest = command
        run([program, "-c", self.configuration, *rest])

    def _keyring(self, name: str, directory: str, **capabilities: str) -> None:
        words = [word for kind, what in capabilities.items() for word in (kind, what)]
        self.ceph("auth", "get-or-create", name, *words, "-o", str(self.directory / directory / "keyring"))
