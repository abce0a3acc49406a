"""How much may be under way at once: whoever takes more is told to come back, and the others don't notice."""

import asyncio
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from aiohttp import web
from multidict import CIMultiDict, MultiDict

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.apiserver import limits
from hypernetes.apiserver.fairness import Fairness
from hypernetes.apiserver.limits import Bodies, Places
from hypernetes.apiserver.routing import Route


class Weights:
    """What limits ask of Lookups."""

    def tenant_weight(self, tenant):
        return 2 if tenant == "heavy" else 1


def made(**most):
    return limits.Limits(Fairness(Weights()), **most)


class Request(dict):
    """As much of a request as limits look at; its body comes when `sent` is set."""

    def __init__(self, body=b"", query=None, content_length=None):
        super().__init__()
        self.headers, self.query = CIMultiDict(), MultiDict(query or {})
        self.body_exists, self.content_length = bool(body), content_length
        self.content, self.sent = self, asyncio.Event()
        self.writer, self.transport = SimpleNamespace(output_size=0), SimpleNamespace(abort=self._abort)
        self.aborted = False
        self._chunks = [body]

    def is_eof(self):
        return self.sent.is_set()

    async def readany(self):
        await self.sent.wait()
        return self._chunks.pop() if self._chunks else b""

    def _abort(self):
        self.aborted = True


def call(verb="list", tenant="acme", request=None, subresource=""):
    user = SimpleNamespace(tenant=tenant)
    return SimpleNamespace(
        http=Request() if request is None else request, route=Route("/", verb, subresource=subresource), user=user,
        parts=SimpleNamespace(lookups=Weights(), reauthorization=Watching()), who=None,
    )  # fmt: skip


class Watching:
    """In the place of who ends streams: keeps what of them was looked after."""

    def __init__(self):
        self.asked = []

    @contextmanager
    def of(self, user, asked, opened, who):
        self.asked += [each.verb for each in asked]
        yield


@pytest.mark.parametrize(
    ("verb", "way", "needed"),
    [("get", "log", ["get"]), ("get", "exec", ["get", "create"]), ("create", "attach", ["create"]),
     ("get", "portforward", ["get", "create"]), ("update", "proxy", ["update"]), ("list", "", []), ("watch", "", [])],
)  # fmt: skip
async def test_streams_are_looked_after_as_long_as_they_are_open(verb, way, needed):
    one = call(verb, subresource=way)
    one.route = one.route._replace(resource=scheme.by_name("v1", "pods"))

    async def served(_call):
        assert one.parts.reauthorization.asked == needed
        return web.Response()

    assert (await made().carry_out(one, served)).status == 200


async def fine(_call):
    return web.Response()


def code(caught):
    return caught.value.code, caught.value.details.get("retryAfterSeconds")


def test_places_are_counted_and_come_free():
    places = Places(4)
    for tenant in ("a", "a", "b", "c"):
        places.take(tenant)
    with pytest.raises(StatusError) as caught:
        places.take("d")
    assert code(caught) == (429, 1)
    places.leave("a")
    places.take("d")


def test_a_tenant_has_half_of_the_places_at_most():
    places = Places(4)
    places.take("a")
    places.take("a")
    with pytest.raises(StatusError):
        places.take("a")
    places.take("b")


def test_bodies_are_counted_by_tenant():
    bodies = Bodies(10)
    bodies.take("a", 8)
    with pytest.raises(StatusError) as caught:
        bodies.take("a", 3)
    assert code(caught) == (429, 1)
    bodies.take("b", 10)
    bodies.leave("a", 8)
    bodies.take("a", 10)


async def test_who_sends_a_body_slowly_holds_no_place():
    found = made(writing=2)
    slow = [Request(b"x", content_length=1) for _ in range(10)]
    waiting = [asyncio.create_task(found.carry_out(call("create", request=each), fine)) for each in slow]
    await asyncio.sleep(0)
    assert (await found.carry_out(call("create"), fine)).status == 200
    for each in slow:
        each.sent.set()
    assert [(await task).status for task in waiting] == [200] * 10


async def test_bodies_of_unknown_length_count_as_the_largest():
    found = made()
    most = limits.BODY_BYTES_PER_TENANT // (3 * 1024 * 1024)
    waiting = [asyncio.create_task(found.carry_out(call("create", request=Request(b"x")), fine)) for _ in range(most)]
    await asyncio.sleep(0)
    with pytest.raises(StatusError) as caught:
        await found.carry_out(call("create", request=Request(b"x")), fine)
    assert caught.value.code == 429
    assert (await found.carry_out(call("create", tenant="other"), fine)).status == 200
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (await found.carry_out(call("delete"), fine)).status == 200


async def test_reads_writes_and_streams_do_not_take_each_others_places():
    found, release = made(reading=2, writing=2), asyncio.Event()

    async def slow(_call):
        await release.wait()
        return web.Response()

    waiting = [asyncio.create_task(found.carry_out(call("get"), slow))]
    await asyncio.sleep(0)
    with pytest.raises(StatusError) as caught:
        await found.carry_out(call("list"), fine)
    assert caught.value.code == 429
    assert (await found.carry_out(call("create"), fine)).status == 200
    assert (await found.carry_out(call("watch"), fine)).status == 200
    assert (await found.carry_out(call("get", subresource="log"), fine)).status == 200
    assert (await found.carry_out(call("list", tenant="system"), fine)).status == 200  # the provider gets through
    release.set()
    await asyncio.gather(*waiting)
    assert (await found.carry_out(call("list"), fine)).status == 200


@pytest.mark.parametrize(("verb", "way"), [("watch", ""), ("get", "exec"), ("get", "log"), ("create", "proxy")])
async def test_a_tenant_has_so_many_watches_and_streams_open_for_each_unit_of_its_weight(verb, way):
    found, release = made(watches=2, streams=2), asyncio.Event()

    async def stays(_call):
        await release.wait()
        return web.Response()

    def opened(tenant, count):
        calls = [call(verb, tenant, subresource=way) for _ in range(count)]
        return [asyncio.create_task(found.carry_out(each, stays)) for each in calls]

    waiting = [*opened("acme", 2), *opened("heavy", 4), *opened("system", 9)]
    await asyncio.sleep(0)
    for tenant in ("acme", "heavy"):
        with pytest.raises(StatusError) as caught:
            await found.carry_out(call(verb, tenant, subresource=way), fine)
        assert code(caught) == (429, 1)
    assert (await found.carry_out(call(verb, "globex", subresource=way), fine)).status == 200
    other = call("get", "acme", subresource="exec") if verb == "watch" else call("watch", "acme")
    assert (await found.carry_out(other, fine)).status == 200
    waiting.pop(0).cancel()
    await asyncio.sleep(0)
    assert (await found.carry_out(call(verb, "acme", subresource=way), fine)).status == 200
    release.set()
    await asyncio.gather(*waiting)


async def test_a_read_ends_after_the_time_that_its_client_gives_it():
    async def endless(_call):
        await asyncio.Event().wait()
        return web.Response()

    for verb in ("get", "list"):
        with pytest.raises(StatusError) as caught:
            await made().carry_out(call(verb, request=Request(query={"timeout": "10ms"})), endless)
        assert (caught.value.code, caught.value.reason) == (504, "Timeout")


async def test_an_answer_that_has_begun_is_cut_off_when_its_time_is_over():
    request = Request(query={"timeout": "10ms"})

    async def stuck(_call):
        request.writer.output_size = 1000
        await asyncio.Event().wait()
        return web.Response()

    await made().carry_out(call(request=request), stuck)
    assert request.aborted


async def test_a_body_that_does_not_come_is_408_and_no_bytes_stay_counted():
    found = made()
    for _ in range(100):
        late = Request(b"x", query={"timeout": "1ms"}, content_length=3 * 1024 * 1024)
        with pytest.raises(StatusError) as caught:
            await found.carry_out(call("create", request=late), fine)
        assert caught.value.code == 408


@pytest.mark.parametrize(("text", "seconds"), [("", 60), ("0", 60), ("-3s", 60), ("5s", 5), ("2m", 60), ("100ms", 0.1)])
def test_a_client_may_ask_for_less_time_than_there_is(text, seconds):
    assert limits.seconds_for(text) == seconds


def test_a_timeout_that_is_none_is_a_bad_request():
    with pytest.raises(StatusError) as caught:
        limits.seconds_for("5")
    assert caught.value.code == 400
