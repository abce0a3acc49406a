"""Images pulled from a real registry, down to the squashfs."""

import asyncio
import gzip
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypernetes.nodeagent.images import dialing
from hypernetes.nodeagent.images.manifests import ImageError
from hypernetes.nodeagent.images.puller import Puller
from hypernetes.nodeagent.images.registry import Credential
from hypernetes.nodeagent.images.store import ImageStore
from tests.integration.nodeagent.registries import TestRegistry, digest, layer, registry, token_front

PLATFORM = ("linux", "amd64")
CONFIG = {
    "Entrypoint": ["/bin/web"],
    "Cmd": ["--port", "80"],
    "Env": ["PATH=/bin", "WORD=hello"],
    "User": "web",
    "WorkingDir": "/srv",
}


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    missing = [tool for tool in ("docker-registry", "tar2sqfs", "rdsquashfs") if shutil.which(tool) is None]
    assert not missing, f"{', '.join(missing)} not found: run `make deps`"


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[TestRegistry]:
    (tmp_path / "registry").mkdir()
    async with registry(tmp_path / "registry") as running:
        yield running


@pytest.fixture
async def puller(tmp_path: Path, source: TestRegistry) -> AsyncIterator[Puller]:
    store = ImageStore(tmp_path / "images")
    store.open()
    policy = dialing.DialPolicy(frozenset({source.host}))
    async with dialing.session(policy) as session:
        yield Puller(store, session, policy, platform=PLATFORM)


def read(image: Path, path: str) -> bytes:
    return subprocess.run(["rdsquashfs", "-c", path, str(image)], check=True, capture_output=True).stdout


def listing(image: Path) -> str:
    return subprocess.run(["rdsquashfs", "-d", str(image)], check=True, capture_output=True, text=True).stdout


async def test_a_tag_becomes_a_squashfs_with_its_configuration(source: TestRegistry, puller: Puller) -> None:
    bottom = layer({"bin/web": b"old", "etc/passwd": b"root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n"})
    top = layer({"bin/web": b"new", "srv/index.html": b"<h1>"})
    pushed = await source.push_image("team/web", "1", [bottom, top], CONFIG)
    pulled = await puller.pull("acme", f"{source.host}/team/web:1")
    assert pulled.image_id == f"{source.host}/team/web@{pushed}"
    assert pulled.image.config.entrypoint == ("/bin/web",)
    assert pulled.image.config.environment["WORD"] == "hello"
    assert "web:x:33:33" in pulled.image.passwd
    assert read(pulled.image.disk, "bin/web") == b"new"
    assert read(pulled.image.disk, "srv/index.html") == b"<h1>"


async def test_whiteouts_hide_lower_layers_in_the_squashfs(source: TestRegistry, puller: Puller) -> None:
    bottom = layer({"a/keep": b"1", "a/gone": b"2", "b/x": b"3"})
    top = layer({"a/.wh.gone": b"", "b/.wh..wh..opq": b"", "b/y": b"4"})
    await source.push_image("w", "1", [bottom, top])
    image = (await puller.pull("acme", f"{source.host}/w:1")).image
    names = listing(image.disk)
    assert "a/keep" in names
    assert "a/gone" not in names
    assert "b/x" not in names
    assert read(image.disk, "b/y") == b"4"


async def test_hostile_entries_stay_inside_the_image(source: TestRegistry, puller: Puller, tmp_path: Path) -> None:
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    device = tarfile.TarInfo()
    device.type, device.devmajor, device.devminor = tarfile.BLKTYPE, 8, 0
    hostile = layer({"../../escape": b"x", "/absolute": b"y", "link": link, "link/passwd": b"z", "dev/sda": device})
    await source.push_image("h", "1", [hostile])
    image = (await puller.pull("acme", f"{source.host}/h:1")).image
    names = listing(image.disk)
    assert read(image.disk, "escape") == b"x"
    assert read(image.disk, "absolute") == b"y"
    assert read(image.disk, "link/passwd") == b"z"
    assert "sda" not in names
    assert not (tmp_path / "escape").exists()


async def test_an_index_gives_our_platform(source: TestRegistry, puller: Puller) -> None:
    ours = await source.push_image("multi", "amd", [layer({"arch": b"amd64"})])
    other = await source.push_image("multi", "arm", [layer({"arch": b"arm64"})], platform=("linux", "arm64"))
    index = await source.push_index("multi", "1", [(other, ("linux", "arm64"), 1), (ours, PLATFORM, 1)])
    pulled = await puller.pull("acme", f"{source.host}/multi:1")
    assert read(pulled.image.disk, "arch") == b"amd64"
    assert pulled.image_id.endswith(index)


async def test_an_index_without_our_platform_says_what_it_has(source: TestRegistry, puller: Puller) -> None:
    other = await source.push_image("multi", "arm", [layer({"a": b""})], platform=("linux", "arm64"))
    await source.push_index("multi", "1", [(other, ("linux", "arm64"), 1)])
    with pytest.raises(ImageError, match=r"no image for this node's platform linux/amd64.*it has linux/arm64"):
        await puller.pull("acme", f"{source.host}/multi:1")


async def test_a_digest_pulls_and_a_wrong_one_does_not(source: TestRegistry, puller: Puller) -> None:
    pushed = await source.push_image("d", "1", [layer({"a": b"1"})])
    pulled = await puller.pull("acme", f"{source.host}/d@{pushed}")
    assert pulled.image_id.endswith(pushed)
    with pytest.raises(ImageError, match="not found"):
        await puller.pull("acme", f"{source.host}/d@sha256:{'0' * 64}")


async def test_an_image_that_is_not_there_is_an_error_in_plain_words(source: TestRegistry, puller: Puller) -> None:
    with pytest.raises(ImageError, match="nothing:1: not found in the registry"):
        await puller.pull("acme", f"{source.host}/nothing:1")


async def test_a_blob_that_was_tampered_with_is_refused(source: TestRegistry, puller: Puller, tmp_path: Path) -> None:
    content = layer({"a": b"honest"})
    await source.push_image("t", "1", [content])
    blob = source.blob_path(digest(gzip.compress(content, mtime=0)))
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with pytest.raises(ImageError, match="has the digest"):
        await puller.pull("acme", f"{source.host}/t:1")
    assert not list((tmp_path / "images").glob("partial-*"))
    assert puller.present("acme", f"{source.host}/t:1") is None


async def test_many_pods_cause_one_pull(source: TestRegistry, puller: Puller, tmp_path: Path) -> None:
    await source.push_image("many", "1", [layer({"a": b"x" * 100_000})])
    name = f"{source.host}/many:1"
    pulled = await asyncio.gather(*(puller.pull("acme", name) for _ in range(5)))
    assert len({each.image.disk for each in pulled}) == 1
    assert len(list((tmp_path / "images").glob("sha256-*"))) == 1


async def test_an_image_is_found_again_after_a_restart(source: TestRegistry, puller: Puller, tmp_path: Path) -> None:
    await source.push_image("again", "1", [layer({"a": b"1"})], CONFIG)
    name = f"{source.host}/again:1"
    first = await puller.pull("acme", name)
    (tmp_path / "images" / "partial-left").mkdir()
    store = ImageStore(tmp_path / "images")
    store.open()
    assert store.named("acme", name) == (first.image, first.image_id.partition("@")[2])
    assert not (tmp_path / "images" / "partial-left").exists()


async def test_one_tenants_pull_gives_another_tenant_nothing(source: TestRegistry, puller: Puller) -> None:
    await source.push_image("mine", "1", [layer({"a": b"1"})])
    name = f"{source.host}/mine:1"
    await puller.pull("acme", name)
    assert puller.present("acme", name) is not None
    assert puller.present("globex", name) is None


async def test_a_registry_with_passwords_needs_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    async with registry(tmp_path / "registry", private=True) as source:
        await source.push_image("private", "1", [layer({"a": b"1"})])
        store = ImageStore(tmp_path / "images")
        store.open()
        policy = dialing.DialPolicy(frozenset({source.host}))
        async with dialing.session(policy) as session:
            puller = Puller(store, session, policy, platform=PLATFORM)
            name = f"{source.host}/private:1"
            with pytest.raises(ImageError, match="denies access"):
                await puller.pull("acme", name)
            with pytest.raises(ImageError, match="denies access"):
                await puller.pull("acme", name, Credential("me", "wrong"))
            assert (await puller.pull("acme", name, Credential("me", "secret"))).from_network


async def test_a_registry_with_a_token_service_is_asked_with_a_token_for_the_repository(
    source: TestRegistry, tmp_path: Path
) -> None:
    await source.push_image("team/app", "1", [layer({"a": b"1"})])
    store = ImageStore(tmp_path / "images")
    store.open()
    async with token_front(source) as (host, scopes):
        policy = dialing.DialPolicy(frozenset({host}))
        async with dialing.session(policy) as session:
            puller = Puller(store, session, policy, platform=PLATFORM)
            name = f"{host}/team/app:1"
            for wrong in (None, Credential("me", "wrong")):
                with pytest.raises(ImageError, match="denies access"):
                    await puller.pull("acme", name, wrong)
            pulled = await puller.pull("acme", name, Credential("me", "secret"))
            assert read(pulled.image.disk, "a") == b"1"
            assert set(scopes) == {"repository:team/app:pull"}


async def test_a_registry_on_the_loopback_is_refused_unless_it_was_listed(source: TestRegistry, tmp_path: Path) -> None:
    await source.push_image("x", "1", [layer({"a": b"1"})])
    store = ImageStore(tmp_path / "images2")
    store.open()
    policy = dialing.DialPolicy()
    async with dialing.session(policy) as session:
        with pytest.raises(ImageError, match=r"refused to connect to 127.0.0.1"):
            await Puller(store, session, policy, platform=PLATFORM).pull("acme", f"{source.host}/x:1")
        port = source.host.partition(":")[2]
        with pytest.raises(ImageError, match="localhost"):
            await Puller(store, session, policy, platform=PLATFORM).pull("acme", f"localhost:{port}/x:1")
