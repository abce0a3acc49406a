"""The guest's build: the archive, the order of modules, the kernel's unpacking."""

import pytest

from hypernetes.guest import commands, initramfs, kernel
from hypernetes.guest.build import digest
from hypernetes.guest.commands import BuildError

DEP = """kernel/a.ko:
kernel/b-c.ko: kernel/a.ko
kernel/d.ko: kernel/b-c.ko kernel/a.ko
"""


def test_a_module_comes_after_all_that_it_needs_and_once() -> None:
    assert kernel.modules_in_load_order(DEP, "", ("d", "b_c", "a")) == ["kernel/a.ko", "kernel/b-c.ko", "kernel/d.ko"]


def test_a_module_that_is_built_in_is_left_out() -> None:
    assert kernel.modules_in_load_order(DEP, "kernel/fs/ext4.ko\n", ("ext4", "a")) == ["kernel/a.ko"]


def test_a_module_the_kernel_lacks_is_named() -> None:
    with pytest.raises(BuildError, match="nosuch"):
        kernel.modules_in_load_order(DEP, "", ("nosuch",))


def test_an_archive_is_the_same_for_the_same_input_and_ends_in_its_trailer() -> None:
    entries = [("dir", 0o40755, b""), ("dir/file", 0o100644, b"content")]
    made = initramfs.archive(entries)
    assert made == initramfs.archive(entries)
    assert made.startswith(b"070701")
    assert b"content\0" in made
    assert b"TRAILER!!!\0" in made
    assert len(made) % 4 == 0


def test_what_is_no_kernel_is_refused() -> None:
    with pytest.raises(BuildError, match="boot header"):
        kernel.extract_vmlinux(bytes(4096))


def test_a_missing_tool_is_an_error_that_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "SYSTEM_PATH", "/nonexistent")
    with pytest.raises(BuildError, match="apt-get install musl-tools"):
        commands.find("musl-gcc")


def test_a_digest_tells_parts_apart() -> None:
    assert digest([b"ab", b"c"]) != digest([b"a", b"bc"])
