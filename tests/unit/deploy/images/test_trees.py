from pathlib import Path

import pytest
from demoimages import elf, trees
from demoimages.errors import ImagesError
from demoimages.layers import File, Link

MAGIC = elf.MAGIC


@pytest.fixture
def needs(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, elf.Needs]:
    """What each content is taken to need."""
    table: dict[bytes, elf.Needs] = {}
    monkeypatch.setattr(elf, "needs", lambda data: table.get(data, elf.Needs()))
    return table


def put(root: Path, path: str, data: bytes, mode: int = 0o644) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
    (root / path).chmod(mode)


def test_only_what_is_named_is_kept(tmp_path: Path) -> None:
    put(tmp_path, "usr/bin/tool", b"t", 0o4755)
    put(tmp_path, "usr/share/doc/tool/README", b"r")
    put(tmp_path, "usr/lib/tool/a/b", b"b")
    put(tmp_path, "usr/lib/tool/c/d", b"d")
    tree = trees.collect(tmp_path, ["usr/bin/tool", "usr/lib/tool"], drop=["usr/lib/tool/c"])
    assert tree == {"usr/bin/tool": File(b"t", 0o755), "usr/lib/tool/a/b": File(b"b", 0o644)}


def test_libraries_come_with_what_they_need_themselves(tmp_path: Path, needs: dict[bytes, elf.Needs]) -> None:
    put(tmp_path, "usr/bin/tool", b"tool", 0o755)
    put(tmp_path, "usr/lib/x86_64-linux-gnu/liba.so.1.2", b"liba")
    (tmp_path / "usr/lib/x86_64-linux-gnu/liba.so.1").symlink_to("liba.so.1.2")
    put(tmp_path, "lib/x86_64-linux-gnu/libc.so.6", b"libc")
    put(tmp_path, "lib/x86_64-linux-gnu/ld.so", b"loader")
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64/ld.so").symlink_to("/lib/x86_64-linux-gnu/ld.so")
    needs[b"tool"] = elf.Needs(("liba.so.1",), "/lib64/ld.so")
    needs[b"liba"] = elf.Needs(("libc.so.6",))
    tree = trees.collect(tmp_path, ["usr/bin/tool"])
    assert tree == {
        "usr/bin/tool": File(b"tool", 0o755),
        "usr/lib/x86_64-linux-gnu/liba.so.1": File(b"liba", 0o755),
        "lib/x86_64-linux-gnu/libc.so.6": File(b"libc", 0o755),
        "lib64/ld.so": File(b"loader", 0o755),
    }


def test_a_missing_library_is_named_with_who_needs_it(tmp_path: Path, needs: dict[bytes, elf.Needs]) -> None:
    put(tmp_path, "usr/bin/tool", b"tool")
    needs[b"tool"] = elf.Needs(("libgone.so.1",))
    with pytest.raises(ImagesError, match=r"usr/bin/tool needs libgone\.so\.1"):
        trees.collect(tmp_path, ["usr/bin/tool"])


def test_a_pattern_without_a_match_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImagesError, match="usr/bin/gone"):
        trees.collect(tmp_path, ["usr/bin/gone"])


def test_links_stay_links(tmp_path: Path) -> None:
    put(tmp_path, "usr/bin/real", b"x", 0o755)
    (tmp_path / "usr/bin/alias").symlink_to("real")
    assert trees.collect(tmp_path, ["usr/bin/*"])["usr/bin/alias"] == Link("real")
