"""What others have on Neutron's networks: a machine that Hypernetes knows nothing of, plugged by hand as Nova would."""

from pathlib import Path
from stat import S_IFDIR, S_IFREG
from typing import Any

from hypernetes.guest import initramfs
from hypernetes.nodeagent.runtime import tsc
from tests.e2e.clusters import GUEST
from tests.openstack.daemons import Daemon, until
from tests.openstack.neutrons import Neutron
from tests.openstack.switches import Switch

PORT = 80  # of its web server
WORD = "foreign"  # what that says
_BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static
_MODULES = ("virtio_ring", "virtio", "virtio_mmio", "failover", "net_failover", "virtio_net")
_INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir -p /bin /proc /www
/bin/busybox --install -s /bin
mount -t proc proc /proc
for module in {" ".join(_MODULES)}; do insmod /modules/$module.ko; done
for word in $(cat /proc/cmdline); do
  case $word in own=*) own=${{word#own=}};; peers=*) peers=${{word#peers=}};; esac
done
ip link set lo up
ip address add $own dev eth0
ip link set eth0 mtu 1442 up
echo {WORD} > /www/index.html
httpd -p {PORT} -h /www
echo up
while true; do
  for peer in $(echo $peers | tr , " "); do ping -c 1 -W 1 $peer >/dev/null && echo reaches $peer; done
  sleep 1
done
"""


class ForeignMachine:
    """On a port of Neutron's, on one node. It tries to reach `peers` for as long as it runs."""

    def __init__(self, neutron: Neutron, node: Switch, port: dict[str, Any], directory: Path, *peers: str) -> None:
        self._node = node
        self.address: str = port["fixed_ips"][0]["ip_address"]
        self._link, self._console = f"f{port['id'][:11]}", directory / "console.log"
        prefix = neutron.rest.get(f"/subnets/{port['fixed_ips'][0]['subnet_id']}").json()["subnet"]["cidr"]
        disk = directory / "foreign.cpio"
        disk.write_bytes(_archive())
        node.ip("tuntap", "add", self._link, "mode", "tap")
        node.ip("link", "set", self._link, "up")
        ids = {"iface-id": port["id"], "attached-mac": port["mac_address"], "iface-status": "active"}
        node.vsctl(
            "add-port", "br-int", self._link, "--", "set", "Interface", self._link,
            *(f'external_ids:{key}="{value}"' for key, value in ids.items()),
        )  # fmt: skip
        # microvm has nothing that the TSC could be calibrated against: without its frequency a guest may hang at boot.
        clock = f"tsc=reliable tsc_early_khz={tsc.frequency_khz()} no_timer_check mitigations=off"
        own = f"own={self.address}/{prefix.rpartition('/')[2]} peers={','.join(peers)}"
        words = f"console=ttyS0 quiet panic=-1 {clock} {own}"
        self._machine = Daemon(
            ["qemu-system-x86_64", "-M", "microvm,rtc=on,pit=off,pic=off", "-accel", "tcg",
             "-cpu", "Nehalem-v1", "-m", "128", "-nodefaults", "-no-user-config",
             "-nographic", "-no-reboot", "-global", "virtio-mmio.force-legacy=false", "-serial", "stdio",
             "-kernel", GUEST / "vmlinux", "-initrd", disk, "-append", words,
             "-netdev", f"tap,id=net0,ifname={self._link},script=no,downscript=no,vnet_hdr=off",
             "-device", f"virtio-net-device,netdev=net0,mac={port['mac_address']}"],
            self._console, namespace=node.namespace,
        )  # fmt: skip
        self._machine.wait(lambda: "up\n" in self._said(), "the foreign machine")
        until(lambda: neutron.rest.get(f"/ports/{port['id']}").json()["port"]["status"] == "ACTIVE", "the port")

    def reaches(self, peer: str) -> bool:
        """Whether it has reached it once."""
        return f"reaches {peer}\n" in self._said()

    def _said(self) -> str:
        return self._console.read_text(errors="replace").replace("\r", "")

    def close(self) -> None:
        self._machine.stop()
        self._node.vsctl("--if-exists", "del-port", "br-int", self._link)
        self._node.ip("link", "del", self._link)


def _archive() -> bytes:
    modules = [(f"modules/{name}.ko", (GUEST / "modules" / f"{name}.ko").read_bytes()) for name in _MODULES]
    return initramfs.archive([
        ("bin", S_IFDIR | 0o755, b""), ("modules", S_IFDIR | 0o755, b""), ("dev", S_IFDIR | 0o755, b""),
        ("init", S_IFREG | 0o755, _INIT.encode()), ("bin/busybox", S_IFREG | 0o755, _BUSYBOX.read_bytes()),
        *((name, S_IFREG | 0o644, content) for name, content in modules),
    ])  # fmt: skip
