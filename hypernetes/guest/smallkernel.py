"""A guest with a small kernel of its own: Debian's kernel source, what a pod needs built in, no modules.

    linux-source-6.1 ─► patched ─► allnoconfig + kernel.config ─► vmlinux ┐
    hn-init ─► initramfs without modules                                  ├─► a directory for `hn up --guest`
    haproxy, nft, … ─► toolbox.squashfs                                   ┘

It takes some twelve minutes of a processor and 3 GB of disk while it is built. Updates are whoever's who builds it.
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from hypernetes.guest import initramfs, toolbox
from hypernetes.guest.build import EXTRA, SOURCES, GuestBuild, digest
from hypernetes.guest.commands import BuildError, find, run
from hypernetes.guest.kernel import EXTRA_MODULES

PACKAGE = "linux-source-6.1"
CONFIG = Path(__file__).parent / "kernel.config"
PATCH = Path(__file__).parent / "kernel.patch"
BUILD_SECONDS = 4 * 3600.0
_SETTING = re.compile(r"(CONFIG_\w+)=(.+)|# (CONFIG_\w+) is not set")
# What is the same for whoever builds it, so that equal input gives equal kernels.
_IDENTITY = {
    "KBUILD_BUILD_TIMESTAMP": "1970-01-01", "KBUILD_BUILD_USER": "hypernetes", "KBUILD_BUILD_HOST": "build",
}  # fmt: skip


def settings(text: str) -> dict[str, str]:
    """Symbol → value of a configuration; "n" for what isn't set."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := _SETTING.fullmatch(line):
            found[match[1] or match[3]] = match[2] or "n"
    return found


def missing(wanted: str, configured: str) -> list[str]:
    """Lines of `wanted` that the kernel's own configuration didn't take over: a misspelt symbol, or one that needs
    another."""
    got = settings(configured)
    return [f"{name}={value}" for name, value in settings(wanted).items() if got.get(name, "n") != value]


class SmallKernelBuild:
    """`work` keeps the source and what is compiled, so that a build which was interrupted goes on."""

    def __init__(self, output: Path, work: Path, jobs: int, progress: Callable[[str], None]) -> None:
        self._guest = GuestBuild(output, progress)
        self._output, self._work, self._jobs, self._progress = output, work, jobs, progress

    def run(self) -> None:
        """Raises BuildError; the old artefacts are whole then."""
        for tool in ("make", "gcc", "flex", "bison", "bc", "patch", "strip", "xz", "musl-gcc"):
            find(tool)
        self._output.mkdir(parents=True, exist_ok=True)
        self._work.mkdir(parents=True, exist_ok=True)
        vmlinux = self._kernel(self._source())
        version = (self._work / "version").read_text()
        inputs = digest([version.encode(), CONFIG.read_bytes(), PATCH.read_bytes()])
        self._guest.store("vmlinux", inputs, vmlinux, version=version, release="small")
        self._programs(inputs)

    def _source(self) -> Path:
        tree = self._work / PACKAGE
        done = self._work / "version"
        if done.exists():
            return tree
        self._progress(f"downloading {PACKAGE}")
        run(["apt-get", "download", "-o", "APT::Sandbox::User=root", PACKAGE], cwd=self._work)
        archives = sorted(self._work.glob(f"{PACKAGE}_*.deb"))
        if not archives:
            raise BuildError(f"apt-get download {PACKAGE} left no file in {self._work}")
        run(["dpkg-deb", "-x", archives[-1], self._work / "package"])
        self._progress("unpacking and patching the source")
        run(["tar", "-xf", self._work / "package" / "usr" / "src" / f"{PACKAGE}.tar.xz", "-C", self._work])
        run(["patch", "-p1", "-d", tree], stdin=PATCH.read_bytes())
        done.write_text(archives[-1].name.split("_")[1])
        return tree

    def _kernel(self, tree: Path) -> bytes:
        run(["make", "allnoconfig"], cwd=tree, env={"KCONFIG_ALLCONFIG": str(CONFIG)})
        if lost := missing(CONFIG.read_text(), (tree / ".config").read_text()):
            raise BuildError(f"the kernel doesn't take these lines of {CONFIG.name}: {', '.join(lost)}")
        self._progress(f"compiling the kernel, {self._jobs} at a time; this takes a while")
        run(["make", f"-j{self._jobs}", "vmlinux"], cwd=tree, env=_IDENTITY, seconds=BUILD_SECONDS)
        stripped = self._work / "vmlinux"
        run(["strip", "-s", "-o", stripped, tree / "vmlinux"])
        return stripped.read_bytes()

    def _programs(self, inputs: str) -> None:
        self._progress("compiling hn-init and packing the initramfs and the toolbox")
        run(["make", "-C", SOURCES, f"BUILD={self._work / 'init'}"])
        self._guest.store("initramfs", inputs, initramfs.build((self._work / "init" / "hn-init").read_bytes(), []))
        for directory, names in ((self._output / "modules", ["list"]), (self._output / EXTRA, list(EXTRA_MODULES))):
            directory.mkdir(exist_ok=True)
            for name in names:
                (directory / name).write_text("")  # all is built in
        made = self._work / "toolbox.squashfs"
        made.unlink(missing_ok=True)
        shutil.rmtree(self._work / "toolbox", ignore_errors=True)
        programs = [*map(find, toolbox.PROGRAMS), toolbox.compile_own(self._work)]
        toolbox.build(programs, self._output / EXTRA, self._work, made)
        self._guest.store("toolbox.squashfs", inputs, made.read_bytes())


def default_jobs() -> int:
    return os.cpu_count() or 1
