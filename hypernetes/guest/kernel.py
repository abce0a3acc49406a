"""The guest's kernel: Debian's cloud kernel, downloaded and unpacked, never installed on the host.

QEMU's microvm boots an uncompressed vmlinux by its PVH note without any firmware work, so the bzImage is taken apart
here once (Documentation/arch/x86/boot.rst: `payload_offset`, `payload_length`).
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from hypernetes.guest.commands import BuildError, run

META_PACKAGE = "linux-image-cloud-amd64"
LZ4_LEGACY_MAGIC = b"\x02!L\x18"

# What a pod VM needs beyond what is built in, in the order of loading; dependencies are found by depmod.
MODULES = (
    "virtio_mmio",
    "virtio_console",
    "virtio_scsi",
    "sd_mod",
    "squashfs",
    "overlay",
    "virtio_net",
    "veth",
    "nf_tables",
    "nft_chain_nat",
    "nft_nat",
    "nft_ct",
    "nft_masq",
    "nft_redir",
    "nft_reject_inet",
    "nft_numgen",
    "nft_hash",
    "nft_limit",
)

# What few pods need, by the name of the list that hn-init loads them by from the toolbox.
EXTRA_MODULES = {"xfs": ("xfs",), "nfs": ("nfs", "nfsv3", "nfsv4")}


@dataclass(frozen=True, slots=True)
class KernelPackage:
    name: str  # linux-image-6.1.0-9-cloud-amd64
    version: str  # of the Debian package

    @property
    def release(self) -> str:
        """What `uname -r` says in the guest."""
        return self.name.removeprefix("linux-image-")


def current_package() -> KernelPackage:
    """The versioned package that Debian's meta package depends on now. Raises BuildError."""
    found = re.search(r"Depends: (linux-image-\S+-cloud-amd64)\s", run(["apt-cache", "depends", META_PACKAGE]).decode())
    if found is None:
        raise BuildError(f"apt knows no kernel behind {META_PACKAGE}: run apt-get update")
    name = found.group(1)
    version = re.search(r"Candidate: (\S+)", run(["apt-cache", "policy", name]).decode())
    if version is None or version.group(1) == "(none)":
        raise BuildError(f"apt has no candidate for {name}: run apt-get update")
    return KernelPackage(name, version.group(1))


def download(package: KernelPackage, directory: Path) -> Path:
    """Downloads and unpacks the package below `directory`; returns the root of the unpacked tree."""
    # Without this option apt downloads as user _apt, which may not enter `directory`.
    run(["apt-get", "download", "-o", "APT::Sandbox::User=root", f"{package.name}={package.version}"], cwd=directory)
    archives = list(directory.glob(f"{package.name}_*.deb"))
    if len(archives) != 1:
        raise BuildError(f"apt-get download {package.name} left {len(archives)} files in {directory}")
    root = directory / "kernel"
    run(["dpkg-deb", "-x", archives[0], root])
    run(["depmod", "-b", root, package.release])
    return root


def extract_vmlinux(bzimage: bytes) -> bytes:
    """The ELF kernel inside an LZ4-compressed bzImage. Raises BuildError where it is of another kind."""
    if len(bzimage) < 0x250 or bzimage[0x202:0x206] != b"HdrS":
        raise BuildError("the kernel image has no x86 boot header")
    setup_sectors = bzimage[0x1F1] or 4
    payload_offset, payload_length = struct.unpack_from("<II", bzimage, 0x248)
    start = (setup_sectors + 1) * 512 + payload_offset
    payload = bzimage[start : start + payload_length]
    if not payload.startswith(LZ4_LEGACY_MAGIC):
        raise BuildError("the kernel is not compressed by LZ4, which is all this build knows")
    (size,) = struct.unpack("<I", payload[-4:])
    vmlinux = run(["lz4", "-dc"], stdin=payload[:-4])
    if len(vmlinux) != size or not vmlinux.startswith(b"\x7fELF"):
        raise BuildError(f"the kernel unpacked to {len(vmlinux)} bytes, its header says {size}")
    return vmlinux


def modules_in_load_order(modules_dep: str, builtin: str, wanted: tuple[str, ...] = MODULES) -> list[str]:
    """Paths of modules such that each comes after those it depends on.

    `modules_dep` and `builtin` are the contents of modules.dep and modules.builtin. Raises BuildError for a module
    that this kernel has neither as a file nor built in.
    """
    dependencies: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    for line in modules_dep.splitlines():
        path, _, rest = line.partition(":")
        dependencies[path] = rest.split()
        by_name[_module_name(path)] = path
    built_in = {_module_name(line) for line in builtin.splitlines()}
    order: dict[str, None] = {}
    for name in wanted:
        if name in built_in:
            continue
        if name not in by_name:
            raise BuildError(f"the kernel has no module {name}")
        # depmod lists what a module needs from the nearest to the deepest.
        for path in [*reversed(dependencies[by_name[name]]), by_name[name]]:
            order.setdefault(path)
    return list(order)


def _module_name(path: str) -> str:
    return Path(path).name.split(".ko")[0].replace("-", "_")
