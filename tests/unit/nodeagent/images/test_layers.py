"""Layers over each other, against a model that does it with plain dictionaries."""

import io
import tarfile
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.nodeagent.images import layers

NAMES = ("a", "b", "c")
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
entries = st.one_of(
    st.tuples(st.just("file"), paths, st.binary(max_size=4)),
    st.tuples(st.just("dir"), paths, st.just(b"")),
    st.tuples(st.just("whiteout"), paths, st.just(b"")),
    st.tuples(st.just("opaque"), paths, st.just(b"")),
)
Entry = tuple[str, str, bytes]


def archive_of(buffer: io.BytesIO) -> tarfile.TarFile:
    return tarfile.open(fileobj=buffer)  # in memory: nothing to close


def archive(found: Sequence[Entry]) -> tarfile.TarFile:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for kind, path, content in found:
            parent, _, name = path.rpartition("/")
            prefix = f"{parent}/" if parent else ""
            header = tarfile.TarInfo(
                {"whiteout": f"{prefix}.wh.{name}", "opaque": f"{path}/.wh..wh..opq"}.get(kind, path)
            )
            if kind == "dir":
                header.type = tarfile.DIRTYPE
            header.size = len(content)
            made.addfile(header, io.BytesIO(content))
    buffer.seek(0)
    return archive_of(buffer)


def flattened(*stack: Sequence[Entry]) -> dict[str, bytes | None]:
    """Contents by path, None for directories, as written out."""
    archives = [archive(each) for each in stack]
    tree = layers.Tree()
    for index, each in enumerate(archives):
        tree.apply(index, each)
    output = io.BytesIO()
    layers.write(tree, archives, output)
    output.seek(0)
    result: dict[str, bytes | None] = {}
    with tarfile.open(fileobj=output) as written:
        for header in written:
            file = written.extractfile(header) if not header.isdir() else None
            result[header.name] = file.read() if file else None
    return result


def model(stack: Sequence[Sequence[Entry]]) -> dict[str, bytes | None]:
    """What the OCI image specification says, on a dictionary: whiteouts first hide what is below, then entries come."""
    state: dict[str, bytes | None] = {}

    def remove(path: str) -> None:
        for each in [key for key in state if key == path or key.startswith(path + "/")]:
            del state[each]

    def parents(path: str) -> None:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            if state.get(parent, b"") is not None:
                remove(parent)
                state[parent] = None

    for found in stack:
        for kind, path, _ in found:
            if kind == "whiteout":
                remove(path)
            elif kind == "opaque":
                for each in [key for key in state if key.startswith(path + "/")]:
                    del state[each]
        for kind, path, content in found:
            if kind == "whiteout":
                parents(path)
                continue
            parents(path)
            if kind == "opaque":
                if state.get(path, b"") is not None:
                    state[path] = None
            elif kind == "dir":
                if state.get(path, b"") is not None:
                    remove(path)
                    state[path] = None
            else:
                remove(path)
                state[path] = content
    return state


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(entries, max_size=5, unique_by=lambda entry: (entry[0], entry[1])), min_size=1, max_size=3))
def test_layers_flatten_as_the_model_says(stack: list[list[Entry]]) -> None:
    assert flattened(*stack) == model(stack)


def test_a_hard_link_keeps_what_a_later_layer_replaces() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        header = tarfile.TarInfo("target")
        header.size = 3
        made.addfile(header, io.BytesIO(b"old"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.LNKTYPE, "target"
        made.addfile(link)
    buffer.seek(0)
    bottom, top = archive_of(buffer), archive([("file", "target", b"new")])
    tree = layers.Tree()
    tree.apply(0, bottom)
    tree.apply(1, top)
    output = io.BytesIO()
    layers.write(tree, [bottom, top], output)
    output.seek(0)
    with tarfile.open(fileobj=output) as written:
        contents = {name: written.extractfile(name).read() for name in ("link", "target")}  # type: ignore[union-attr]
    assert contents == {"link": b"old", "target": b"new"}


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../etc/passwd", "./etc//passwd"])
def test_no_name_leads_out_of_the_image(name: str) -> None:
    assert layers.split(name) == ["etc", "passwd"]


def test_an_image_with_too_many_files_is_refused() -> None:
    tree = layers.Tree(max_entries=2)
    with pytest.raises(layers.LayerError, match="more than 2 files"):
        tree.apply(0, archive([("file", name, b"") for name in NAMES]))


def test_a_hard_link_to_nothing_is_refused() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.LNKTYPE, "nothing"
        made.addfile(link)
    buffer.seek(0)
    with pytest.raises(layers.LayerError, match="isn't there"):
        layers.Tree().apply(0, archive_of(buffer))


def test_a_cut_off_layer_is_refused() -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as made:
        for name in NAMES:
            header = tarfile.TarInfo(name)
            header.size = 2000
            made.addfile(header, io.BytesIO(bytes(2000)))
    with pytest.raises(layers.LayerError, match="not a valid tar"):
        layers.Tree().apply(0, archive_of(io.BytesIO(whole.getvalue()[:1500])))
