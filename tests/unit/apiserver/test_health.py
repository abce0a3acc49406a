"""What /livez and /readyz find, and how they say it."""

import asyncio
from typing import Any

import pytest

from hypernetes.apiserver import health
from hypernetes.apiserver.health import Health
from hypernetes.apiserver.storage.base import Unavailable


class Store:
    """Answers with a revision, or doesn't."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    async def revision(self) -> int:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return 7


class Mirror:
    def __init__(self) -> None:
        self.waited_for: list[int] = []

    async def wait_for(self, revision: int) -> None:
        self.waited_for.append(revision)


class TokenKeys:
    async def of(self, tenant: str, tenant_uid: str) -> None:
        assert tenant == "system"


def checks(store: Store, mirror: Mirror | None = None) -> Health:
    parts: list[Any] = [store, mirror or Mirror(), TokenKeys()]
    return Health(*parts, "test")


async def test_all_is_well_when_the_store_answers_and_the_mirror_has_caught_up():
    mirror = Mirror()
    healthy = checks(Store(), mirror)
    names = healthy.names("/livez")
    assert names == ("ping", "store", "mirror", "signing-keys")
    assert await healthy.results("/livez", names) == dict.fromkeys(names)
    assert mirror.waited_for == [7]


async def test_a_store_that_does_not_answer_fails_its_check_and_the_mirrors():
    store = Store()
    store.error = Unavailable("no route to it")
    results = await checks(store).results("/readyz", ["ping", "store", "mirror", "shutdown"])
    assert results == {"ping": None, "store": "no route to it", "mirror": "no route to it", "shutdown": None}


async def test_many_who_ask_cost_the_store_one_question():
    store = Store()
    asked = checks(store)
    await asyncio.gather(*(asked.results("/livez", ["store"]) for _ in range(50)))
    assert store.asked == 1


async def test_a_server_that_drains_is_alive_but_not_ready():
    draining = checks(Store())
    assert await draining.results("/readyz", ["shutdown"]) == {"shutdown": None}
    draining.drain()
    assert await draining.results("/readyz", ["shutdown"]) == {"shutdown": "the server is shutting down"}
    assert "shutdown" not in draining.names("/livez")


@pytest.mark.parametrize(
    ("results", "excluded", "unmatched", "verbose", "text"),
    [
        ({"ping": None}, [], [], False, "ok"),
        ({"ping": None}, [], ["nope"], False, "ok"),
        ({"ping": None, "store": None}, [], [], True, "[+]ping ok\n[+]store ok\nlivez check passed\n"),
        ({"ping": None, "store": None}, ["store"], [], True, "[+]ping ok\n[+]store excluded: ok\nlivez check passed\n"),
        (
            {"ping": None, "store": "secret"}, [], [], False,
            "[+]ping ok\n[-]store failed: reason withheld\nlivez check failed\n",
        ),
        (
            {"ping": None}, [], ["a", "b"], True,
            '[+]ping ok\nwarn: some health checks cannot be excluded: no matches for "a","b"\nlivez check passed\n',
        ),
    ],
)  # fmt: skip
def test_the_report_is_in_the_words_that_clients_know(results, excluded, unmatched, verbose, text):
    assert health.report("livez", results, excluded, unmatched, verbose=verbose) == text
