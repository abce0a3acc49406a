"""Builds the images; an image whose recipe and builder are the same as last time is left alone."""

import dataclasses
import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demoimages import layout, packages, trees
from demoimages.errors import ImagesError
from demoimages.layers import Entry, File, Layer, Link, pack
from demoimages.recipes import BASE, RECIPES, Recipe

Report = Callable[[str], None]

_INPUTS = "inputs.json"  # in an image's directory: the hash of what it was built from
_TIMEOUT = 120.0  # seconds for one program that the build runs


def build(output: Path, report: Report) -> None:
    """Writes an OCI layout per recipe below `output`. Raises ImagesError."""
    inputs = _inputs_hash()
    stale = [recipe for recipe in RECIPES if not _is_current(output / recipe.name, inputs)]
    if not stale:
        report(f"the images in {output} are up to date")
        return
    base = _make(BASE, output, report)
    for recipe in RECIPES:
        made = base if recipe is BASE else _make(recipe, output, report)
        content = [base.layer] if recipe is BASE else [base.layer, made.layer]
        image = layout.assemble(content, recipe.config, packages.architecture())
        directory = output / recipe.name
        layout.write(image, directory, ["latest", made.tag])
        (directory / _INPUTS).write_text(json.dumps({"inputs": inputs}))
        size = sum(layer.size for layer in content) / 1e6
        report(f"{recipe.name}: {size:.1f} MB, {image.digest}")


@dataclasses.dataclass(frozen=True, slots=True)
class _Made:
    layer: Layer
    tag: str


def _make(recipe: Recipe, output: Path, report: Report) -> _Made:
    """The recipe's own layer."""
    report(f"{recipe.name}: getting {len(recipe.packages)} Debian packages")
    debs = packages.download(recipe.packages, output / "debs")
    with _unpacked(output, list(debs.values())) as root:
        tree: dict[str, Entry] = trees.collect(root, recipe.keep, recipe.drop)
        for name in recipe.packages:
            copyright_file = f"usr/share/doc/{name}/copyright"
            if (root / copyright_file).is_file():  # some packages link to another's
                tree[copyright_file] = File((root / copyright_file).read_bytes())
        if recipe.compiled:
            tree |= _compile(root, recipe.compiled, tree)
        if recipe is BASE:
            tree |= _applets(root / "bin/busybox")
        tree |= recipe.added
    return _Made(pack(tree), _tag(packages.version(debs[recipe.packages[0]])))


@contextmanager
def _unpacked(output: Path, debs: list[Path]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=output, prefix=".unpacked-") as directory:
        for deb in debs:
            packages.unpack(deb, Path(directory))
        yield Path(directory)


def _run(*arguments: str | Path) -> str:
    try:
        done = subprocess.run(
            [str(argument) for argument in arguments], capture_output=True, text=True, timeout=_TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ImagesError(f"{arguments[0]} could not be run: {error}") from error
    return done.stdout


def _applets(busybox: Path) -> dict[str, Entry]:
    """A link per tool that this busybox has."""
    return {f"bin/{name}": Link("busybox") for name in _run(busybox, "--list").split() if name != "busybox"}


def _compile(root: Path, directory: str, tree: Mapping[str, Entry]) -> dict[str, Entry]:
    """Byte code of the modules in `tree`, made by the interpreter that is to read it, and never checked against the
    source: that would be by time, and there are no times here."""
    loader = next(path for path in tree if path.startswith(("lib64/ld-linux", "lib/ld-linux")))
    libraries = sorted({str((root / path).parent) for path in tree if ".so" in path})
    program = [
        "-I",
        "-S",
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
        "-s",
        str(root),
        "-p",
        "/",
    ]
    interpreter = next(root / path for path in tree if re.fullmatch(r"usr/bin/python3\.\d+", path))
    _run(root / loader, "--library-path", ":".join(libraries), interpreter, *program, root / directory)
    sources = {path for path in tree if path.endswith(".py")}
    compiled: dict[str, Entry] = {}
    for path in (root / directory).rglob("__pycache__/*.pyc"):
        source = path.parent.parent / f"{path.name.partition('.')[0]}.py"
        if str(source.relative_to(root)) in sources:
            compiled[str(path.relative_to(root))] = File(path.read_bytes())
    return compiled


def _tag(version: str) -> str:
    """A Debian version as a tag: without epoch, and with the characters that tags may have."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", version.rpartition(":")[2])


def _inputs_hash() -> str:
    """Of recipes, what they add, and this builder."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _is_current(directory: Path, inputs: str) -> bool:
    try:
        recorded: Any = json.loads((directory / _INPUTS).read_text())
        layout.read(directory)
    except (OSError, ValueError):
        return False
    return bool(recorded.get("inputs") == inputs)
