"""QEMU's command line for a pod's machine: a pure function of what it shall be.

`microvm` boots a vmlinux by its PVH note; all disks are virtio-scsi LUNs, plugged by QMP; the toolbox (LUN 0) is there
from the start. Everything is given as inherited descriptors, since QEMU runs under a uid that can reach no directory.
The order of devices is part of a template's format: it decides the virtio-mmio slots.
"""

from dataclasses import dataclass
from enum import StrEnum

from hypernetes.nodeagent.runtime.protocol import PORT_NAME

# hn-agent starts a storage process again within seconds; it may be away itself for an upgrade, or for longer.
RECONNECT_SECONDS = 86_400
BINARY = "qemu-system-x86_64"
SCSI_BUS = "scsi0.0"
TOOLBOX_LUN, SCRATCH_LUN = 0, 1
# Disks that a template has without content, larger than any image: a clone has images there, or nothing.
IMAGE_LUNS = (2, 3)
IMAGE_LUN_BYTES = 1 << 40
FIRST_FREE_LUN = 4
# Nehalem is x86-64-v2: richer models cost the guest's boot under TCG and bring nothing there.
TCG_CPU = "Nehalem-v1"
# A clone's NIC comes up with it and gets its own from hn-init before its link is up.
TEMPLATE_MAC = "02:00:00:00:00:00"
# One translation buffer of this size (MiB) per process bounds what TCG adds to a pod's memory.
TCG_BUFFER_MIB = 64
_KERNEL = "quiet panic=-1 reboot=t random.trust_cpu=on cryptomgr.notests"
# Whoever emulates a processor also waits for each page that the kernel clears without need.
# microvm has no timer the TSC could be calibrated against: without its frequency a guest under TCG may hang at boot.
_KERNEL_TCG = "tsc=reliable tsc_early_khz={tsc_khz} no_timer_check mitigations=off init_on_alloc=0"
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


class Accel(StrEnum):
    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True)
class Shape:
    """What makes two machines' memory images interchangeable, beside QEMU and the guest's files."""

    memory_mib: int
    cpus: int
    nic: bool
    accel: Accel
    tsc_khz: int


@dataclass(frozen=True, slots=True)
class Inherited:
    """Descriptors that QEMU inherits."""

    kernel: int
    initramfs: int
    toolbox: int
    link_socket: int  # listening
    monitor_socket: int  # listening
    tap: int | None = None
    memory: int | None = None  # the template's, or the one a template is made in


def command_line(
    name: str,
    shape: Shape,
    fds: Inherited,
    mac_address: str | None,
    *,
    memory_shared: bool = False,
    incoming: bool = False,
) -> list[str]:
    """`memory_shared`: writes go to the memory descriptor (making a template) and not to private copies.
    `incoming`: waits for a template's device state instead of booting."""
    tcg = shape.accel is Accel.TCG
    kernel = f"{_KERNEL} {_KERNEL_TCG.format(tsc_khz=shape.tsc_khz)}" if tcg else _KERNEL
    machine = "microvm,isa-serial=off,rtc=on,pit=off,pic=off"
    arguments = [BINARY, "-name", name, "-M", machine + (",memory-backend=m0" if fds.memory is not None else "")]
    arguments += ["-accel", f"tcg,thread=multi,tb-size={TCG_BUFFER_MIB}" if tcg else "kvm"]
    arguments += ["-cpu", TCG_CPU if tcg else "host", "-smp", str(shape.cpus), "-m", str(shape.memory_mib)]
    if fds.memory is not None:
        share = "on" if memory_shared else "off"
        backend = f"memory-backend-file,id=m0,size={shape.memory_mib}M,mem-path=/proc/self/fd/{fds.memory}"
        arguments += ["-object", f"{backend},share={share}"]
    arguments += ["-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-sandbox", _SANDBOX]
    arguments += ["-global", "virtio-mmio.force-legacy=false"]
    arguments += ["-kernel", f"/proc/self/fd/{fds.kernel}", "-initrd", f"/proc/self/fd/{fds.initramfs}"]
    arguments += ["-append", kernel]
    arguments += ["-chardev", f"socket,id=link,fd={fds.link_socket},server=on,wait=off"]
    arguments += ["-device", "virtio-serial-device,id=vs0"]
    arguments += ["-device", f"virtserialport,chardev=link,name={PORT_NAME},id=port0"]
    arguments += ["-device", "virtio-scsi-device,id=scsi0"]
    arguments += ["-add-fd", f"fd={fds.toolbox},set=0,opaque=toolbox"]
    arguments += ["-blockdev", _read_only("file", "toolbox-file", "filename=/dev/fdset/0")]
    arguments += ["-blockdev", _read_only("raw", "toolbox", "file=toolbox-file")]
    arguments += ["-device", f"scsi-hd,drive=toolbox,id=disk-toolbox,bus={SCSI_BUS},lun={TOOLBOX_LUN}"]
    if fds.tap is not None:
        vhost = "" if tcg else ",vhost=on"
        arguments += ["-netdev", f"tap,id=net0,fd={fds.tap}{vhost}"]
        arguments += ["-device", f"virtio-net-device,netdev=net0,id=nic0,mac={mac_address}"]
    arguments += ["-chardev", f"socket,id=monitor,fd={fds.monitor_socket},server=on,wait=off"]
    arguments += ["-mon", "chardev=monitor,mode=control"]
    if incoming:
        arguments += ["-incoming", "defer"]
    return arguments


def _read_only(driver: str, node: str, source: str) -> str:
    return f"driver={driver},node-name={node},{source},read-only=on,auto-read-only=off"


def plug_arguments(node: str, fd_set: int, lun: int, *, read_only: bool) -> tuple[dict[str, object], dict[str, object]]:
    """Arguments of `blockdev-add` and `device_add` for a disk whose descriptor is in `fd_set`."""
    file: dict[str, object] = {"driver": "file", "filename": f"/dev/fdset/{fd_set}", "read-only": read_only}
    block: dict[str, object] = {"driver": "raw", "node-name": node, "read-only": read_only, "file": file}
    if read_only:
        file["auto-read-only"] = block["auto-read-only"] = False
    return block, _device(node, lun)


def empty_arguments(node: str, lun: int) -> tuple[dict[str, object], dict[str, object]]:
    """The same for a disk of which nothing is ever read."""
    block: dict[str, object] = {"driver": "null-co", "node-name": node, "size": IMAGE_LUN_BYTES, "read-zeroes": True}
    return block | {"read-only": True}, _device(node, lun)


def export_arguments(
    node: str, socket: str, export: str, lun: int, *, read_only: bool
) -> tuple[dict[str, object], dict[str, object]]:
    """The same for what a storage process exports. While it is away the guest waits."""
    block: dict[str, object] = {
        "driver": "nbd", "node-name": node, "read-only": read_only, "discard": "unmap", "export": export,
        "server": {"type": "unix", "path": socket}, "reconnect-delay": RECONNECT_SECONDS,
    }  # fmt: skip
    # What the storage says goes to the guest, a full disk too: a machine that is stopped answers nobody.
    return block, {**_device(node, lun), "rerror": "report", "werror": "report"}


def _device(node: str, lun: int) -> dict[str, object]:
    return {"driver": "scsi-hd", "drive": node, "id": f"disk-{node}", "bus": SCSI_BUS, "lun": lun}
