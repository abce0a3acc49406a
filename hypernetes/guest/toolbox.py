"""The toolbox: the programs hn-init runs beside the containers, with their libraries, as one squashfs.

hn-init chroots into it, so it holds the empty directories that are mounted over there.
"""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from hypernetes.guest.commands import BuildError, run

PROGRAMS = ("haproxy", "mke2fs", "e2fsck", "mkfs.xfs")
OWN_SOURCE = Path(__file__).parent / "tables" / "hn-tables.c"
OWN_PROGRAM = "hn-tables"
MOUNT_POINTS = ("dev", "proc", "run", "services", "tmp")
LOADER = "lib64/ld-linux-x86-64.so.2"


def libraries_of(program: Path) -> dict[str, Path]:
    """Soname → file of all that `program` links, by its own loader's search."""
    listing = run(["ldd", program]).decode()
    if "not found" in listing:
        raise BuildError(f"{program} misses a library on this machine: {listing}")
    return {name: Path(path) for name, path in re.findall(r"(\S+) => (/\S+)", listing)}


def compile_own(directory: Path) -> Path:
    """hn-tables, of libnftables, whose C library is the system's: it can't be static as hn-init is."""
    program = directory / OWN_PROGRAM
    run(["gcc", "-Os", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", program, OWN_SOURCE, "-lnftables"])
    return program


def copy_tree(root: Path, programs: Iterable[Path], modules: Path) -> None:
    """Fills `root` with the programs, flat (bin/, lib/ and the loader where ELF files expect it), and with kernel
    modules."""
    shutil.copytree(modules, root / "modules")
    for name in ("bin", "lib", "lib64", "etc", *MOUNT_POINTS):
        (root / name).mkdir()
    libraries: dict[str, Path] = {}
    for program in programs:
        shutil.copy(program, root / "bin" / program.name)
        libraries |= libraries_of(program)
    for soname, path in libraries.items():
        shutil.copy(path, root / "lib" / soname)
    shutil.copy(Path("/") / LOADER, root / LOADER)
    # HAProxy resolves its own user; nothing else of a passwd is needed.
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/false\nhaproxy:x:99:99:haproxy:/:/bin/false\n")
    (root / "etc" / "group").write_text("root:x:0:\nhaproxy:x:99:\n")
    for path in (root / "bin").iterdir():
        run(["strip", "--strip-unneeded", path])


def build(programs: Iterable[Path], modules: Path, work: Path, output: Path) -> None:
    root = work / "toolbox"
    root.mkdir()
    copy_tree(root, programs, modules)
    # lz4: the guest's processor is emulated at worst, so unpacking must be cheap.
    options = ("-comp", "lz4", "-all-root", "-noappend", "-quiet", "-no-progress", "-mkfs-time", "0", "-all-time", "0")
    run(["mksquashfs", root, output, *options])
