"""Parts of the real machines' tests: a guest build and an image."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hypernetes.guest.build import GuestBuild

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def guest() -> Path:
    """The checkout's guest, built where it is missing or out of date."""
    directory = CHECKOUT / "build" / "guest"
    GuestBuild(directory, print).run()
    return directory


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A squashfs of Debian's static busybox under every name it knows."""
    root = tmp_path_factory.mktemp("image")
    tree = root / "tree"
    for name in ("bin", "etc/elsewhere", "tmp"):
        (tree / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None, "apt-get install busybox-static"
    shutil.copy(busybox, tree / "bin" / "busybox")
    names = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    for name in names:
        if name != "busybox":
            (tree / "bin" / name).symlink_to("busybox")
    (tree / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tree / "etc" / "escape").symlink_to("/../../../../etc/elsewhere")
    (tree / "bin" / "not-executable").write_text("nothing")
    (tree / "tmp").chmod(0o1777)
    output = root / "image.squashfs"
    subprocess.run(
        ["mksquashfs", tree, output, "-comp", "lz4", "-all-root", "-noappend", "-quiet", "-no-progress"],
        check=True,
        capture_output=True,
    )
    return output
