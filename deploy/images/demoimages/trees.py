"""What of the unpacked packages goes into an image: the files a recipe names, and the libraries they need."""

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from demoimages import elf
from demoimages.errors import ImagesError
from demoimages.layers import Entry, File, Link

_LIBRARY_DIRECTORIES = ("lib/*-linux-gnu", "usr/lib/*-linux-gnu")


def collect(root: Path, keep: Sequence[str], drop: Sequence[str] = ()) -> dict[str, Entry]:
    """The entries that match `keep` and not `drop` (glob patterns), with the closure of their libraries.

    Raises ImagesError for a pattern without a match and for a library that no package brought.
    """
    dropped = {path for pattern in drop for path in root.glob(pattern)}
    tree: dict[str, Entry] = {}
    for pattern in keep:
        found = [path for path in _files(root, pattern) if not dropped.intersection((path, *path.parents))]
        if not found:
            raise ImagesError(f"no package has {pattern}; see the recipe's `packages` and `keep`")
        for path in found:
            tree[str(path.relative_to(root))] = _entry(path)
    _add_libraries(root, tree)
    return tree


def _files(root: Path, pattern: str) -> Iterator[Path]:
    """Of directories, all that is below."""
    for path in sorted(root.glob(pattern)):
        if path.is_dir() and not path.is_symlink():
            yield from (below for below in sorted(path.rglob("*")) if below.is_symlink() or not below.is_dir())
        else:
            yield path


def _entry(path: Path) -> Entry:
    if path.is_symlink():
        return Link(str(path.readlink()))
    executable = path.stat().st_mode & stat.S_IXUSR
    return File(path.read_bytes(), 0o755 if executable else 0o644)  # no set-user-id programs


def _add_libraries(root: Path, tree: dict[str, Entry]) -> None:
    pending = [(path, entry) for path, entry in tree.items() if isinstance(entry, File)]
    while pending:
        wanted_by, entry = pending.pop()
        needs = elf.needs(entry.data)
        targets = [_library(root, name, wanted_by) for name in needs.libraries]
        if needs.loader:
            targets.append(needs.loader.lstrip("/"))
        for target in targets:
            if target not in tree:
                content = File(_resolved(root, target, wanted_by).read_bytes(), 0o755)
                tree[target] = content
                pending.append((target, content))


def _library(root: Path, name: str, wanted_by: str) -> str:
    for directory in _LIBRARY_DIRECTORIES:
        for path in root.glob(f"{directory}/{name}"):
            return str(path.relative_to(root))
    raise ImagesError(f"{wanted_by} needs {name}, which no package of the recipe has; add the package that does")


def _resolved(root: Path, target: str, wanted_by: str) -> Path:
    """The file behind `target`, where links mean paths inside `root`."""
    path = root / target
    for _ in range(8):
        if not path.is_symlink():
            break
        link = path.readlink()
        path = root / str(link).lstrip("/") if link.is_absolute() else path.parent / link
    if not path.is_file():
        raise ImagesError(f"{wanted_by} needs {target}, which no package of the recipe has; add the package that does")
    return path
