"""What answers of Neutron's come to, nonsense among them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from hypernetes.providers import fencing
from hypernetes.providers.network.neutron.api import Neutron, NeutronError


class Scripted:
    """An adapter whose answers are given beforehand."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self._answers: Iterator[tuple[int, Any]] = iter(answers)
        self.asked: list[tuple[str, str, Any]] = []

    def request(self, path: str, method: str, *, json: Any, raise_exc: bool, timeout: Any) -> requests.Response:
        self.asked.append((method, path, json))
        status, body = next(self._answers)
        answer = requests.Response()
        answer.status_code, answer.reason = status, "a reason"
        answer._content = body if isinstance(body, bytes) else _encoded(body)
        return answer


def _encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


def refused(status: int, kind: str = "", message: str = "no") -> tuple[int, Any]:
    return status, {"NeutronError": {"type": kind, "message": message, "detail": ""}}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refused(409, "IpAddressAlreadyAllocated"), "AddressInUse"), (refused(409, "MacAddressInUse"), "AddressInUse"),
        (refused(409, "OverQuota"), "QuotaExceeded"), (refused(409, "SubnetInUse"), "Conflict"),
        (refused(400, "InvalidIpForNetwork"), "InvalidPort"), (refused(403, "PolicyNotAuthorized"), "NotPermitted"),
        (refused(500), "Unavailable"), (refused(429), "Unavailable"), ((503, b"<html>"), "Unavailable"),
        ((401, b""), "NotPermitted"), ((404, b"[]"), "Refused"), ((200, b"<html>"), "Unavailable"),
        ((200, b"[]"), "Unavailable"), ((409, {"NeutronError": "text"}), "Conflict"),
    ],
)  # fmt: skip
def test_a_refusal_has_a_stable_reason(answer: tuple[int, Any], reason: str) -> None:
    with pytest.raises(NeutronError) as caught:
        Neutron(Scripted(answer)).listed("ports")  # type: ignore[arg-type]
    assert caught.value.reason == reason


def test_all_pages_of_a_list_are_read() -> None:
    link = {"rel": "next", "href": "http://neutron/v2.0/ports?marker=a"}
    adapter = Scripted((200, {"ports": [{"id": "a"}], "ports_links": [link]}), (200, {"ports": [{"id": "b"}]}))
    assert [each["id"] for each in Neutron(adapter).listed("ports")] == ["a", "b"]  # type: ignore[arg-type]


def test_what_a_crash_left_without_tags_is_found_by_its_description_and_tagged() -> None:
    adapter = Scripted(
        (200, {"networks": []}), (200, {"networks": [{"id": "n", "created_at": None}]}), (200, {"tags": []})
    )
    [found] = Neutron(adapter).made("networks", ["one", "two"], "project")  # type: ignore[arg-type]
    assert found["id"] == "n"
    assert adapter.asked[1][1] == "/networks?project_id=project&description=one%20two"
    assert adapter.asked[2] == ("PUT", "/networks/n/tags", {"tags": ["one", "two"]})


def test_deleting_what_is_gone_is_no_error() -> None:
    Neutron(Scripted(refused(404, "PortNotFound"))).delete("ports", "p")  # type: ignore[arg-type]


def test_who_may_not_act_any_more_asks_nothing() -> None:
    adapter = Scripted((200, {"ports": []}))
    with fencing.guarded(lambda: False), pytest.raises(fencing.Fenced):
        Neutron(adapter).create("ports", ["tag"])  # type: ignore[arg-type]
    assert adapter.asked == []
