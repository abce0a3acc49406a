"""Builds the guest: `python -m hypernetes.guest.build DIR` makes DIR/{vmlinux,initramfs,toolbox.squashfs,guest.json}.

Each artefact is made again only if what it is made of changed: guest.json keeps a hash of the inputs beside a hash of
the output.
"""

import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from hypernetes.guest import initramfs, kernel, toolbox
from hypernetes.guest.commands import BuildError, find, run

SOURCES = Path(__file__).parent / "init"
EXTRA = "extra-modules"  # in the output: those that the toolbox has
BUILDER_SOURCES = ("kernel.py", "initramfs.py", "toolbox.py")


def digest(parts: Iterable[bytes]) -> str:
    """A hash in which the borders between parts count."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)
    return total.hexdigest()


class GuestBuild:
    """One build into one directory. `progress` is given a line for each step that takes a while."""

    def __init__(self, output: Path, progress: Callable[[str], None]) -> None:
        self.output = output
        self.progress = progress
        self.manifest_path = output / "guest.json"
        self.manifest: dict[str, dict[str, str]] = self._read_manifest()

    def run(self) -> None:
        """Makes what is missing or out of date. Raises BuildError; the old artefacts are whole then."""
        self.output.mkdir(parents=True, exist_ok=True)
        package = kernel.current_package()
        with tempfile.TemporaryDirectory(prefix="hn-guest-") as directory:
            self._kernel_and_initramfs(package, Path(directory))
            self._toolbox(package, Path(directory))
        self._write_manifest()

    def _kernel_and_initramfs(self, package: kernel.KernelPackage, work: Path) -> None:
        recipe = [package.name.encode(), package.version.encode(), *self._builders()]
        kernel_inputs = digest(recipe)
        modules_dir = self.output / "modules"
        kept = all((path / name).exists() for path, name in ((modules_dir, "list"), (self.output / EXTRA, "nfs")))
        if not self._fresh("vmlinux", kernel_inputs) or not kept:
            self.progress(f"downloading {package.name} {package.version}")
            root = kernel.download(package, work)
            self.progress("unpacking the kernel")
            self._keep_modules(root / "lib/modules" / package.release, modules_dir)
            image = kernel.extract_vmlinux((root / f"boot/vmlinuz-{package.release}").read_bytes())
            self.store("vmlinux", kernel_inputs, image, version=package.version, release=package.release)
        init_inputs = digest([*recipe, *self._sources(), find("musl-gcc").read_bytes()])
        if not self._fresh("initramfs", init_inputs):
            self.progress("compiling hn-init and packing the initramfs")
            run(["make", "-C", SOURCES, f"BUILD={work / 'init'}"])
            modules = [modules_dir / name for name in (modules_dir / "list").read_text().split()]
            self.store("initramfs", init_inputs, initramfs.build((work / "init" / "hn-init").read_bytes(), modules))

    def _toolbox(self, package: kernel.KernelPackage, work: Path) -> None:
        programs = [*map(find, toolbox.PROGRAMS), toolbox.compile_own(work)]
        libraries = {path for program in programs for path in toolbox.libraries_of(program).values()}
        recipe = [package.name.encode(), package.version.encode(), *self._builders()]
        inputs = digest([*recipe, *(path.read_bytes() for path in [*programs, *sorted(libraries)])])
        if self._fresh("toolbox.squashfs", inputs):
            return
        self.progress("packing the toolbox")
        made = work / "toolbox.squashfs"
        toolbox.build(programs, self.output / EXTRA, work, made)
        version = run(["haproxy", "-v"]).decode().split("\n", 1)[0]
        self.store("toolbox.squashfs", inputs, made.read_bytes(), haproxy=version)

    def _keep_modules(self, tree: Path, target: Path) -> None:
        """The few modules that are used, flat and with their order, so that a change of hn-init needs no download."""
        order = kernel.modules_in_load_order((tree / "modules.dep").read_text(), (tree / "modules.builtin").read_text())
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for path in order:
            shutil.copy(tree / path, target)
        (target / "list").write_text("".join(f"{Path(path).name}\n" for path in order))
        extra = self.output / EXTRA
        shutil.rmtree(extra, ignore_errors=True)
        extra.mkdir()
        for name, wanted in kernel.EXTRA_MODULES.items():
            needed = kernel.modules_in_load_order(
                (tree / "modules.dep").read_text(), (tree / "modules.builtin").read_text(), wanted
            )
            own = [path for path in needed if path not in order]
            for path in own:
                shutil.copy(tree / path, extra)
            (extra / name).write_text("".join(f"{Path(path).name}\n" for path in own))

    def _builders(self) -> list[bytes]:
        return [(Path(__file__).parent / name).read_bytes() for name in BUILDER_SOURCES]

    def _sources(self) -> list[bytes]:
        files = sorted(path for path in SOURCES.iterdir() if path.suffix in (".c", ".h") or path.name == "Makefile")
        return [part for path in files for part in (path.name.encode(), path.read_bytes())]

    def _fresh(self, name: str, inputs: str) -> bool:
        entry, path = self.manifest.get(name, {}), self.output / name
        return entry.get("inputs") == inputs and path.exists() and digest([path.read_bytes()]) == entry.get("sha256")

    def store(self, name: str, inputs: str, content: bytes, **facts: str) -> None:
        partial = self.output / f".{name}.partial"
        partial.write_bytes(content)
        partial.chmod(0o644)  # read by QEMU, which runs under a uid of its own
        partial.replace(self.output / name)
        self.manifest[name] = {"sha256": digest([content]), "inputs": inputs, "bytes": str(len(content)), **facts}
        self._write_manifest()

    def _read_manifest(self) -> dict[str, dict[str, str]]:
        try:
            manifest: dict[str, dict[str, str]] = json.loads(self.manifest_path.read_text())
            return manifest
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def _write_manifest(self) -> None:
        partial = self.manifest_path.with_suffix(".partial")
        partial.write_text(json.dumps(self.manifest, indent=2, sort_keys=True) + "\n")
        partial.replace(self.manifest_path)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def main(directory: Path) -> None:
    """Builds the guest (kernel, initramfs, toolbox) into DIRECTORY."""
    started = time.monotonic()

    def progress(line: str) -> None:
        click.echo(f"guest: {line} ({time.monotonic() - started:.1f} s)")

    try:
        GuestBuild(directory, progress).run()
    except BuildError as error:
        click.echo(f"guest: {error}", err=True)
        sys.exit(1)
    progress(f"ready in {directory}")


if __name__ == "__main__":
    main()
