import pytest

from hypernetes.api.status import StatusError
from hypernetes.client.backoff import Backoff
from hypernetes.client.errors import Interrupted, Unreachable
from hypernetes.client.retries import MAX_ATTEMPTS, next_delay

BUSY = StatusError("TooManyRequests", "busy", details={"retryAfterSeconds": 3})
SOON = StatusError("ServiceUnavailable", "come back", details={"retryAfterSeconds": 2})
AWAY = StatusError("ServiceUnavailable", "away")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("error", [Unreachable("refused"), BUSY, SOON], ids=["not sent", "not begun", "back soon"])
def test_what_has_not_happened_may_be_sent_again(method: str, error: Exception) -> None:
    assert next_delay(method, 0, error) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("error", [Interrupted("reset"), AWAY], ids=["interrupted", "unavailable"])
def test_a_write_that_may_have_happened_is_not_sent_again(method: str, error: Exception) -> None:
    assert next_delay(method, 0, error) is None  # type: ignore[arg-type]
    assert next_delay("GET", 0, error) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", ["NotFound", "Conflict", "Forbidden", "Invalid", "Expired"])
def test_a_refusal_is_final(reason: str) -> None:
    assert next_delay("GET", 0, StatusError(reason, "no")) is None


def test_the_server_is_never_asked_sooner_than_it_said() -> None:
    for attempt in range(MAX_ATTEMPTS - 1):
        delay = next_delay("POST", attempt, BUSY)
        assert delay is not None
        assert 3 < delay < 6


def test_a_server_that_wants_minutes_gets_its_refusal_reported() -> None:
    assert next_delay("GET", 0, StatusError("TooManyRequests", "busy", details={"retryAfterSeconds": 300})) is None


def test_attempts_end() -> None:
    assert next_delay("GET", MAX_ATTEMPTS - 1, Unreachable("refused")) is None


def test_backoff_grows_to_its_cap_and_never_overflows() -> None:
    backoff = Backoff(first=1, longest=60)
    for attempt, full in [(0, 1), (1, 2), (5, 32), (6, 60), (10_000, 60)]:
        assert full / 2 <= backoff.delay(attempt) <= full
