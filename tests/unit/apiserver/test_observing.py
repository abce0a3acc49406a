"""What is noted of a request: where it belongs in the metrics, and what its line in the log may say."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client.parser import text_string_to_metric_families

from hypernetes.apiserver import routing
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.observing import Observer, Seen
from hypernetes.apiserver.requestlog import ALL
from tests.unit.apiserver.test_metrics import named


class Mirror:
    """With nothing in it."""

    class keys:
        @staticmethod
        def range(resource):
            return f"/{resource.name}/"

    def count(self, prefix):
        return 0


def observer(lines):
    made = Observer(Mirror(), ALL)
    made.log.add = lines.append
    return made


def samples(observed):
    body, _ = observed.render("")()
    return {
        (sample.name, tuple(sorted((key, value) for key, value in sample.labels.items() if value))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


async def test_a_request_is_counted_and_logged_without_its_query():
    lines = []
    noting = observer(lines)

    async def handle(request: web.BaseRequest, seen: Seen) -> web.Response:
        seen.route = routing.parse(request.method, request.path, {})
        seen.user = User("jane", (), "acme", "u-1")
        assert named(samples(noting), "apiserver_current_inflight_requests", request_kind="mutating") == 1
        return web.Response(body=b"{}", status=201)

    path = "/api/v1/namespaces/a/configmaps?dryRun=All&token=secret"
    request = make_mocked_request("POST", path, headers={"User-Agent": "kubectl"})
    await noting.observing(handle)(request)
    found = samples(noting)
    assert named(found, "apiserver_request_total", code="201", resource="configmaps", dry_run="All") == 1
    assert named(found, "apiserver_current_inflight_requests", request_kind="mutating") == 0
    (line,) = lines
    assert (line.method, line.path, line.code) == ("POST", "/api/v1/namespaces/a/configmaps", 201)
    assert (line.user, line.tenant, line.agent) == ("jane", "acme", "kubectl")


async def test_what_a_proxied_path_says_stays_between_the_client_and_the_pod():
    lines = []

    async def handle(request: web.BaseRequest, seen: Seen) -> web.Response:
        seen.route = routing.parse(request.method, request.path, {})
        return web.Response(status=204)

    await observer(lines).observing(handle)(
        make_mocked_request("GET", "/api/v1/namespaces/a/pods/p/proxy/reset/secret-token")
    )
    assert [line.path for line in lines] == ["/api/v1/namespaces/a/pods/p/proxy"]


async def test_a_request_that_is_refused_before_anything_is_known_of_it_counts():
    lines = []
    noting = observer(lines)

    async def handle(request: web.BaseRequest, seen: Seen) -> web.Response:
        return web.Response(status=401)

    await noting.observing(handle)(make_mocked_request("GET", "/api/v1/secrets"))
    assert named(samples(noting), "apiserver_request_total", code="401", verb="GET") == 1
    assert (lines[0].user, lines[0].tenant) == ("", "")


async def test_a_request_that_breaks_is_no_longer_under_way():
    noting = observer([])

    async def handle(request: web.BaseRequest, seen: Seen) -> web.Response:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await noting.observing(handle)(make_mocked_request("GET", "/version"))
    found = samples(noting)
    assert named(found, "apiserver_current_inflight_requests", request_kind="readOnly") == 0
    assert named(found, "apiserver_request_total", code="500", subresource="/version") == 1
