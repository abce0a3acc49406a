import gzip
import io
import tarfile

from demoimages.layers import Directory, Entry, File, Link, digest, pack
from hypothesis import given
from hypothesis import strategies as st

names = st.lists(st.sampled_from(["etc", "bin", "a", "b"]), min_size=1, max_size=3).map("/".join)
entries = st.one_of(
    st.builds(File, st.binary(max_size=20), st.sampled_from([0o644, 0o755])),
    st.builds(Link, st.sampled_from(["busybox", "/etc/passwd"])),
    st.builds(Directory, st.sampled_from([0o755, 0o1777])),
)
leaves = names.map(lambda name: f"{name}/leaf")  # so that no file is another's directory


def unpacked(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as tar:
        return tar.getmembers()


@given(st.dictionaries(leaves, entries, max_size=6), st.randoms())
def test_a_layer_depends_on_its_content_alone(tree: dict[str, Entry], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(tree.items())
    random.shuffle(shuffled)
    assert pack(dict(shuffled)) == pack(tree)


@given(st.dictionaries(leaves, entries, max_size=6))
def test_parents_come_before_what_is_in_them(tree: dict[str, Entry]) -> None:
    seen: set[str] = set()
    for member in unpacked(pack(tree).data):
        parent, _, _ = member.name.rpartition("/")
        assert not parent or parent in seen
        assert member.name not in seen
        seen.add(member.name)
    assert seen >= tree.keys()


def test_nothing_of_the_machine_gets_into_a_layer() -> None:
    tree = {"bin/sh": Link("busybox"), "bin/busybox": File(b"x", 0o755), "data": Directory(owner=999)}
    members = unpacked(pack(tree).data)
    assert {member.mtime for member in members} == {0}
    assert {(member.uname, member.gname) for member in members} == {("", "")}
    assert {member.name: (member.uid, member.mode) for member in members} == {
        "bin": (0, 0o755),
        "bin/busybox": (0, 0o755),
        "bin/sh": (0, 0o777),
        "data": (999, 0o755),
    }


def test_the_two_digests_are_of_the_compressed_and_the_plain_archive() -> None:
    layer = pack({"a": File(b"content")})
    assert layer.digest == digest(layer.data)
    assert layer.diff_id == digest(gzip.decompress(layer.data))
    assert layer.size == len(b"content")
