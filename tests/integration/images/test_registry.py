"""The demo images on real parts: apt's packages, dpkg-deb and docker-registry."""

import contextlib
import gzip
import io
import json
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from demoimages import building, layout
from demoimages.errors import ImagesError
from demoimages.layers import digest
from demoimages.recipes import BASE
from demoimages.server import Server

SCRIPTS = Path(__file__).parents[3] / "deploy" / "images"
BUILT = "busybox"


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    assert shutil.which("docker-registry"), "docker-registry is not installed: run `make deps`"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Busybox, built; the others are the same builder with more packages."""
    directory = tmp_path_factory.mktemp("images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "RECIPES", (BASE,))
        building.build(directory, lambda line: None)
    return directory


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path, port: int) -> Iterator[Server]:
    made = Server(tmp_path / "registry", "127.0.0.1", port)
    try:
        yield made
    finally:
        made.stop()


def test_an_image_that_was_pushed_comes_back_with_its_digests(images: Path, server: Server) -> None:
    assert server.ensure()
    image, tags = layout.read(images / BUILT)
    assert server.registry.push(BUILT, image, tags)
    manifest = server.registry.manifest(BUILT, "latest")
    assert digest(manifest) == image.digest
    described = json.loads(manifest)
    for entry in (described["config"], *described["layers"]):
        assert digest(server.registry.blob(BUILT, entry["digest"])) == entry["digest"]


def test_pushing_again_sends_nothing(images: Path, server: Server) -> None:
    server.ensure()
    image, tags = layout.read(images / BUILT)
    assert server.registry.push(BUILT, image, tags)
    assert not server.registry.push(BUILT, image, tags)


def test_a_blob_whose_digest_is_wrong_is_not_taken(images: Path, server: Server) -> None:
    server.ensure()
    image, _ = layout.read(images / BUILT)
    first = layout.Blob("sha256:" + "0" * 64, image.blobs[0].data)
    with pytest.raises(ImagesError, match="did not take blob"):
        server.registry.push(BUILT, layout.Image(image.manifest, (first,)), ["latest"])


def test_the_image_holds_a_shell_and_its_tools(images: Path) -> None:
    image, tags = layout.read(images / BUILT)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(image.blobs[1].data))) as tar:
        links = {member.name: member.linkname for member in tar.getmembers() if member.issym()}
        busybox = tar.getmember("bin/busybox")
    assert {"bin/sh", "bin/wget", "bin/httpd", "bin/ping"} <= links.keys()
    assert busybox.mode == 0o755
    assert tags[0] == "latest"


def test_building_again_gives_the_same_image(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images / "debs", tmp_path / "debs", copy_function=shutil.copy2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "RECIPES", (BASE,))
        building.build(tmp_path, lambda line: None)
        said: list[str] = []
        building.build(tmp_path, said.append)
    assert layout.read(tmp_path / BUILT) == layout.read(images / BUILT)
    assert said == [f"the images in {tmp_path} are up to date"]


def test_a_registry_that_is_there_is_used_and_not_stopped_by_another(images: Path, server: Server, port: int) -> None:
    server.ensure()
    other = Server(server.directory.parent / "other", "127.0.0.1", port)
    assert not other.ensure()
    assert not other.stop()
    assert server.registry.is_one()


def test_a_port_of_something_else_is_said_to_be_taken(server: Server) -> None:
    with socket.create_server((server.host, server.port)) as taken:
        threading.Thread(target=_answer_nonsense, args=(taken,), daemon=True).start()
        with pytest.raises(ImagesError, match="in use by something that is no registry"):
            server.ensure()


def _answer_nonsense(taken: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = taken.accept()
            connection.sendall(b"220 mail.example.com\r\n")
            connection.close()


def test_a_process_that_merely_has_the_number_is_not_stopped(server: Server) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        server.directory.mkdir(parents=True)
        (server.directory / "registry.pid").write_text(str(stranger.pid))
        assert not server.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_the_script_starts_says_and_stops(images: Path, tmp_path: Path, port: int) -> None:
    def serve(what: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, SCRIPTS / "serve.py", images, "--storage", tmp_path / "r", "--port", str(port), what]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    started = serve("--detach")
    try:
        assert f"127.0.0.1:{port}/{BUILT}: pushed" in started.stdout
        assert "is no image" in started.stderr  # of those that this test didn't build
        assert f"127.0.0.1:{port}/{BUILT}: sha256:" in serve("--status").stdout
    finally:
        assert serve("--stop").stdout == "stopped\n"
    assert serve("--stop").stdout == "nothing to stop\n"
    assert serve("--status").returncode == 1
