"""No count is trusted until the cache shows what we did ourselves."""

from typing import Any

from hypernetes.api.models.core_v1 import Pod
from hypernetes.client import Key
from hypernetes.controllers.expectations import Expectations

OWNER, POD = Key("acme", "prod", "web"), Key("acme", "prod", "web-1")


class Cache:
    """An informer's answers."""

    def __init__(self) -> None:
        self.resource_version = "10"
        self.pods: dict[Key, Pod] = {POD: pod("u1")}

    def get(self, key: Key) -> Pod | None:
        return self.pods.get(key)


def pod(uid: str, **metadata: Any) -> Pod:
    return Pod.from_dict({"metadata": {"name": "web-1", "uid": uid, **metadata}})


class Case:
    def __init__(self) -> None:
        self.cache, self.now = Cache(), 0.0
        self.expectations = Expectations(self.cache, lambda: self.now)  # type: ignore[arg-type]

    @property
    def met(self) -> bool:
        return self.expectations.met(OWNER)


def test_a_created_pod_is_waited_for_until_the_cache_is_that_far() -> None:
    case = Case()
    assert case.met
    case.expectations.created(OWNER, "12")
    case.expectations.created(OWNER, "11")
    case.cache.resource_version = "11"
    assert not case.met
    case.cache.resource_version = "12"
    assert case.met


def test_a_deleted_pod_is_waited_for_until_it_terminates_or_is_gone_or_replaced() -> None:
    for seen in ({}, {POD: pod("u2")}, {POD: pod("u1", deletionTimestamp="2030-01-01T00:00:00Z")}):
        case = Case()
        case.expectations.deleted(OWNER, POD, "u1")
        assert not case.met
        case.cache.pods = seen
        assert case.met


def test_an_event_that_never_comes_is_not_waited_for_forever() -> None:
    case = Case()
    case.expectations.created(OWNER, "99")
    case.now = 299
    assert not case.met
    case.now = 301
    assert case.met


def test_one_owners_writes_do_not_hold_up_another() -> None:
    case = Case()
    case.expectations.created(Key("acme", "prod", "db"), "99")
    assert case.met
