from hypernetes.api.status import StatusError
from hypernetes.apiserver.authn.guessing import PER_MINUTE, PER_MINUTE_AND_ADDRESS, Attempts


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def refused(attempts: Attempts, user: str = "jane", address: str = "10.0.0.1") -> bool:
    try:
        attempts.check("acme", user, address)
    except StatusError as error:
        return error.code == 429 and error.details["retryAfterSeconds"] >= 1
    return False


def test_so_many_failures_from_one_address_and_then_one_for_each_share_of_a_minute():
    clock = Clock()
    attempts = Attempts(clock)
    assert not any(refused(attempts) for _ in range(PER_MINUTE_AND_ADDRESS))
    assert refused(attempts)
    assert not refused(attempts, address="10.0.0.2")
    assert not refused(attempts, user="joan")
    clock.now += 60 / PER_MINUTE_AND_ADDRESS
    assert not refused(attempts)
    assert refused(attempts)


def test_many_addresses_together_do_not_get_further_than_a_users_limit():
    attempts = Attempts(Clock())
    tried = [not refused(attempts, address=f"10.0.0.{number}") for number in range(2 * PER_MINUTE)]
    assert sum(tried) == PER_MINUTE


def test_what_succeeds_is_not_counted():
    attempts = Attempts(Clock())
    for _ in range(5 * PER_MINUTE):
        attempts.check("acme", "jane", "10.0.0.1")
        attempts.succeeded("acme", "jane", "10.0.0.1")
    assert not refused(attempts)
