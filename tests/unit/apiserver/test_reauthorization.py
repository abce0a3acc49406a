import asyncio
from contextlib import ExitStack

from hypernetes.api.status import StatusError
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.authz import Attributes
from hypernetes.apiserver.authz.authorizer import Decision
from hypernetes.apiserver.reauthorization import Reauthorization
from hypernetes.apiserver.storage.base import Unavailable

JANE = User("jane", ("dev",), "acme", "u1")
ASKED = (Attributes("acme", "watch", resource="pods"), Attributes("acme", "create", resource="pods"))


class Policy:
    """Allows a verb to who is in the group."""

    def __init__(self) -> None:
        self.needed = {"watch": "dev", "create": "dev"}

    def authorize(self, user: User, asked: Attributes) -> Decision:
        return Decision(self.needed[asked.verb] in user.groups)


class Opened:
    def __init__(self) -> None:
        self.ended = self.expired = False
        self.now: User | Exception = JANE

    async def who(self) -> User:
        await asyncio.sleep(0)
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    def end(self) -> None:
        self.ended = True

    def expire(self) -> None:
        self.expired = True


def opened(reauthorization: Reauthorization, stack: ExitStack, *, filtered: bool = False) -> Opened:
    made = Opened()
    stack.enter_context(reauthorization.of(JANE, ASKED, made, made.who, filtered=filtered))
    return made


async def ended_when(now: User | Exception) -> bool:
    reauthorization = Reauthorization(Policy())  # type: ignore[arg-type]
    with ExitStack() as stack:
        first, second = opened(reauthorization, stack), opened(reauthorization, stack)
        first.now = now
        await reauthorization.look()
        assert not second.ended
        return first.ended


async def test_what_is_open_goes_on_while_its_credential_and_the_right_to_it_hold():
    assert not await ended_when(JANE)
    assert not await ended_when(User("jane", ("dev", "ops"), "acme", "u1"))


async def test_it_ends_with_the_credential_with_the_groups_and_with_the_tenant():
    assert await ended_when(StatusError("Unauthorized", "Unauthorized"))
    assert await ended_when(StatusError("Forbidden", "no more impersonation"))
    assert await ended_when(StatusError("ServiceUnavailable", "nobody can say"))
    assert await ended_when(User("jane", ("ops",), "acme", "u1"))
    assert await ended_when(User("jane", ("dev",), "acme", "u2"))
    assert await ended_when(User("joan", ("dev",), "acme", "u1"))


async def test_a_bug_in_looking_at_one_credential_ends_its_stream_and_no_other():
    assert await ended_when(KeyError("a bug"))


async def test_a_store_that_is_away_ends_nothing():
    assert not await ended_when(Unavailable("away"))


async def test_new_groups_count_from_then_on():
    policy = Policy()
    reauthorization = Reauthorization(policy)  # type: ignore[arg-type]
    with ExitStack() as stack:
        each = opened(reauthorization, stack)
        each.now = User("jane", ("dev", "ops"), "acme", "u1")
        await reauthorization.look()
        policy.needed = {"watch": "ops", "create": "dev"}
        running = asyncio.create_task(reauthorization.run())
        reauthorization.reset()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not each.ended
        policy.needed = {"watch": "ops", "create": "nobody"}
        reauthorization.reset()
        for _ in range(5):
            await asyncio.sleep(0)
        assert each.ended
        running.cancel()


async def test_changed_roles_begin_a_filtered_watch_anew_and_nothing_else():
    reauthorization = Reauthorization(Policy())  # type: ignore[arg-type]
    with ExitStack() as stack:
        filtered, plain = opened(reauthorization, stack, filtered=True), opened(reauthorization, stack)
        await reauthorization.look()
        assert not filtered.expired
        running = asyncio.create_task(reauthorization.run())
        reauthorization.reset()
        for _ in range(5):
            await asyncio.sleep(0)
        assert (filtered.expired, filtered.ended, plain.expired, plain.ended) == (True, False, False, False)
        running.cancel()


async def test_a_silent_identity_source_holds_up_no_change_of_roles():
    policy = Policy()
    reauthorization = Reauthorization(policy)  # type: ignore[arg-type]
    with ExitStack() as stack:
        waiting, other = opened(reauthorization, stack), opened(reauthorization, stack)

        async def silent() -> User:
            await asyncio.Event().wait()
            raise AssertionError

        stack.enter_context(reauthorization.of(JANE, ASKED, waiting, silent))
        looking = asyncio.create_task(reauthorization.look())
        running = asyncio.create_task(reauthorization.run())
        await asyncio.sleep(0)
        policy.needed = {"watch": "ops", "create": "ops"}
        reauthorization.reset()
        for _ in range(5):
            await asyncio.sleep(0)
        assert waiting.ended
        assert other.ended
        looking.cancel()
        running.cancel()
