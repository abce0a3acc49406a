"""Discovery and OpenAPI as clients cache them."""

import gzip

import orjson

from tests.integration.api.servers import User

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def test_a_url_with_the_hash_of_its_content_may_be_kept_for_good(admin: User) -> None:
    index = await admin("GET", "/openapi/v3")
    url = index.json["paths"]["apis/apps/v1"]["serverRelativeURL"]
    path, _, digest = url.partition("?hash=")
    answer = await admin("GET", path, hash=digest)
    assert "immutable" in answer.headers["Cache-Control"]
    assert "io.k8s.api.apps.v1.Deployment" in answer.json["components"]["schemas"]
    assert "immutable" not in (await admin("GET", path)).headers["Cache-Control"]
    old = await admin("GET", path, hash="0123")
    assert old.json == answer.json  # redirected to what there is now


async def test_who_has_a_document_already_is_told_so(admin: User) -> None:
    for path, accept in [("/openapi/v2", "application/json"), ("/openapi/v3", "*/*"), ("/apis", AGGREGATED)]:
        first = await admin("GET", path, headers={"Accept": accept})
        again = await admin("GET", path, headers={"Accept": accept, "If-None-Match": first.headers["ETag"]})
        assert (again.status, again.body) == (304, b""), path


async def test_large_documents_are_compressed_for_those_who_take_it(admin: User) -> None:
    plain = await admin("GET", "/openapi/v2", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    async with admin.raw("/openapi/v2", {"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert orjson.loads(gzip.decompress(await answer.read())) == plain.json


async def test_a_tenant_is_offered_what_a_tenant_may_use(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        for user, offered in [(admin, True), (acme, False)]:
            answer = await user("GET", "/apis", headers={"Accept": AGGREGATED})
            names = {
                resource["resource"]
                for group in answer.json["items"]
                for version in group["versions"]
                for resource in version["resources"]
            }
            assert "deployments" in names
            assert ("tenants" in names) is offered


async def test_only_what_can_be_read_is_read(admin: User) -> None:
    assert (await admin("POST", "/version", {})).status == 405
    nowhere = await admin("GET", "/apis/nope")
    assert (nowhere.status, nowhere.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
    assert (await admin("GET", "/apis/apps/v9")).json["reason"] == "NotFound"
