"""Large answers are compressed for those who take it; small ones and watches never."""

import gzip

import orjson
import pytest
import yaml

from tests.integration.api.servers import User

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
TAKES = {"Accept-Encoding": "gzip, deflate"}


async def fill(admin: User, objects: int, size: int) -> None:
    for number in range(objects):
        body = {"metadata": {"name": f"c{number}"}, "data": {"text": f"{number:04}" * (size // 4)}}
        assert (await admin("POST", CONFIGMAPS, body)).status == 201


@pytest.mark.parametrize("size", [50_000, 200_000])  # in one piece, and streamed
async def test_a_long_list_is_compressed(admin: User, size: int) -> None:
    await fill(admin, 4, size)
    plain = await admin("GET", CONFIGMAPS, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    async with admin.raw(CONFIGMAPS, TAKES) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in answer.headers["Vary"]
        compressed = await answer.read()
    assert len(compressed) < len(plain.body) / 10
    assert orjson.loads(gzip.decompress(compressed)) == plain.json


async def test_large_objects_and_other_forms_are_compressed_too(admin: User) -> None:
    await fill(admin, 1, 300_000)
    for headers, read in [({}, orjson.loads), ({"Accept": "application/yaml"}, yaml.safe_load)]:
        async with admin.raw(f"{CONFIGMAPS}/c0", {**TAKES, **headers}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert read(gzip.decompress(await answer.read()))["metadata"]["name"] == "c0"


async def test_small_answers_and_refusing_clients_get_plain_ones(admin: User) -> None:
    await fill(admin, 1, 300_000)
    for path, accepted in [
        ("/api/v1/namespaces/default", "gzip"), (f"{CONFIGMAPS}/c0", "gzip;q=0"), (f"{CONFIGMAPS}/c0", "br"),
    ]:  # fmt: skip
        async with admin.raw(path, {"Accept-Encoding": accepted}) as answer:
            assert "Content-Encoding" not in answer.headers
            assert (await answer.read()).startswith(b"{")


async def test_a_watch_is_never_compressed(admin: User) -> None:
    await fill(admin, 1, 300_000)
    async with admin.raw(f"{CONFIGMAPS}?watch=true&timeoutSeconds=1", TAKES) as answer:
        assert "Content-Encoding" not in answer.headers
        assert b'"ADDED"' in await answer.content.readline()
