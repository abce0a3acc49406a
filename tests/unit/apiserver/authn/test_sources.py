import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.authn.sources import LivingTenant, Sources
from hypernetes.providers.identity.base import Identity, TenantReference
from tests.unit.providers.identity.table import TableProvider

START = datetime(2026, 1, 1, tzinfo=UTC)
ACME = TenantReference(id="p1")
JANE = Identity("jane", ACME, ("dev",))


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **amount: float) -> None:
        self.now += timedelta(**amount)


class Living:
    def __init__(self) -> None:
        acme = LivingTenant("acme", "u1", START)
        self.tenants = {ACME: acme, TenantReference("acme"): acme}

    def living(self, source: str, tenant: TenantReference) -> LivingTenant | None:
        return self.tenants.get(tenant)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def living() -> Living:
    return Living()


@pytest.fixture
def table() -> TableProvider:
    return TableProvider(good=JANE)


@pytest.fixture
def sources(table: TableProvider, living: Living, clock: Clock) -> Sources:
    return Sources([table], living, clock)


async def test_a_token_is_asked_about_once_while_the_answer_is_fresh(
    sources: Sources, table: TableProvider, clock: Clock
) -> None:
    for _ in range(3):
        groups, extra = ("dev", "system:authenticated"), {"hypernetes.io/tenant": ("acme",)}
        assert await sources.user_of("good") == User("jane", groups, "acme", "u1", extra)
    assert table.asked == ["good"]
    clock.forward(seconds=31)
    await sources.user_of("good")
    assert table.asked == ["good", "good"]


async def test_requests_side_by_side_share_one_question(sources: Sources, table: TableProvider) -> None:
    users = await asyncio.gather(*(sources.user_of("good") for _ in range(50)))
    assert {user.name for user in users if user is not None} == {"jane"}
    assert table.asked == ["good"]


async def test_who_goes_away_while_asking_leaves_the_question_to_the_next(
    sources: Sources, table: TableProvider
) -> None:
    table.up = None
    first = asyncio.ensure_future(sources.user_of("good"))
    second = asyncio.ensure_future(sources.user_of("good"))
    while not table.asked:
        await asyncio.sleep(0)
    table.up = True
    first.cancel()
    user = await second
    assert user is not None
    assert user.name == "jane"


async def test_what_was_revoked_is_noticed_once_the_answer_is_no_longer_fresh(
    sources: Sources, table: TableProvider, clock: Clock
) -> None:
    await sources.user_of("good")
    table.answers.clear()
    clock.forward(seconds=31)
    assert await sources.user_of("good") is None


async def test_other_groups_count_once_the_answer_is_no_longer_fresh(
    sources: Sources, table: TableProvider, clock: Clock
) -> None:
    await sources.user_of("good")
    table.answers["good"] = Identity("jane", ACME, ("ops",))
    clock.forward(seconds=31)
    user = await sources.user_of("good")
    assert user is not None
    assert "ops" in user.groups
    assert "dev" not in user.groups


async def test_an_unknown_token_is_nobodys_and_not_asked_about_at_once_again(
    sources: Sources, table: TableProvider, clock: Clock
) -> None:
    for _ in range(3):
        assert await sources.user_of("bad") is None
    assert table.asked == ["bad"]
    clock.forward(seconds=6)
    assert await sources.user_of("bad") is None
    assert len(table.asked) == 2


async def test_while_a_source_is_silent_what_it_said_last_counts_for_its_time(
    sources: Sources, table: TableProvider, clock: Clock
) -> None:
    await sources.user_of("good")
    table.up = False
    clock.forward(minutes=9)
    assert await sources.user_of("good") is not None
    clock.forward(minutes=2)
    with pytest.raises(StatusError) as caught:
        await sources.user_of("good")
    assert caught.value.code == 503


async def test_a_new_token_of_a_silent_source_is_a_clear_503_and_not_a_401(
    sources: Sources, table: TableProvider
) -> None:
    table.up = False
    with pytest.raises(StatusError) as caught:
        await sources.user_of("new")
    assert (caught.value.code, caught.value.reason) == (503, "ServiceUnavailable")
    assert caught.value.details["retryAfterSeconds"] > 0
    assert "'table' does not answer" in caught.value.message
    assert "away" not in caught.value.message


async def test_a_silent_source_is_left_alone_and_asked_again_later(
    sources: Sources, table: TableProvider, clock: Clock
) -> None:
    table.up = False
    for _ in range(5):
        with pytest.raises(StatusError):
            await sources.user_of("new")
    assert len(table.asked) == 1
    table.up = True
    clock.forward(seconds=2)
    assert await sources.user_of("good") is not None


async def test_one_token_that_cannot_be_judged_keeps_nobody_else_out(sources: Sources, table: TableProvider) -> None:
    table.unanswered = "strange"
    for _ in range(3):
        with pytest.raises(StatusError) as caught:
            await sources.user_of("strange")
        assert caught.value.code == 503
    assert await sources.user_of("good") is not None


async def test_a_source_that_hangs_is_given_up(
    sources: Sources, table: TableProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hypernetes.apiserver.authn.sources.DEADLINE_SECONDS", 0.01)
    table.up = None
    with pytest.raises(StatusError) as caught:
        await sources.user_of("new")
    assert caught.value.code == 503


async def test_an_identity_ends_with_its_token_whatever_is_remembered(
    sources: Sources, table: TableProvider, clock: Clock
) -> None:
    table.answers["good"] = Identity("jane", ACME, expires_at=START + timedelta(seconds=10))
    assert await sources.user_of("good") is not None
    table.up = False
    clock.forward(seconds=10)
    with pytest.raises(StatusError):
        await sources.user_of("good")
    table.up = True
    clock.forward(minutes=1)
    assert await sources.user_of("good") is None  # the source still says so, in vain


async def test_a_user_goes_with_the_tenant_at_once(sources: Sources, living: Living) -> None:
    await sources.user_of("good")
    living.tenants[ACME] = LivingTenant("acme", "u2", START)
    user = await sources.user_of("good")
    assert user is not None
    assert user.tenant_uid == "u2"  # the project is the same, the tenant made again for it
    del living.tenants[ACME]
    assert await sources.user_of("good") is None


async def test_a_tenant_that_is_named_accepts_no_token_older_than_itself(
    sources: Sources, table: TableProvider, living: Living
) -> None:
    named = TenantReference("acme")
    table.answers["good"] = Identity("jane", named, issued_at=START + timedelta(hours=1))
    assert await sources.user_of("good") is not None
    living.tenants[named] = LivingTenant("acme", "u2", START + timedelta(hours=2))
    assert await sources.user_of("good") is None


@pytest.mark.parametrize(
    "name", ["system:admin", "system:node:n1", "system:serviceaccount:a:b", "system:", "", "keystone:jane@Default"]
)
async def test_a_source_makes_nobody_of_the_clusters_own(sources: Sources, table: TableProvider, name: str) -> None:
    table.answers["good"] = Identity(name, ACME)
    assert await sources.user_of("good") is None


async def test_of_the_clusters_groups_a_source_gives_the_administrators_only(
    sources: Sources, table: TableProvider
) -> None:
    table.answers["good"] = Identity(
        "jane", ACME, ("system:masters", "system:nodes", "system:bootstrappers", "dev", "keystone:role:admin")
    )
    user = await sources.user_of("good")
    assert user is not None
    assert user.groups == ("system:masters", "dev", "system:authenticated")


async def test_keystone_gives_the_names_that_default_roles_are_bound_to(living: Living, clock: Clock) -> None:
    keystone = TableProvider("keystone", good=Identity("keystone:jane@Default", ACME, ("keystone:role:admin",)))
    user = await Sources([keystone], living, clock).user_of("good")
    assert user is not None
    assert (user.name, user.groups) == ("keystone:jane@Default", ("keystone:role:admin", "system:authenticated"))
    assert not user.component


async def test_the_first_source_that_knows_a_token_counts(living: Living, clock: Clock) -> None:
    first, second = TableProvider("first"), TableProvider("second", good=JANE, both=JANE)
    first.answers["both"] = Identity("joan", ACME)
    sources = Sources([first, second], living, clock)
    found = [await sources.user_of(token) for token in ("good", "both", "bad")]
    assert [user and user.name for user in found] == ["jane", "joan", None]
    first.up = False
    clock.forward(seconds=31)
    found = [await sources.user_of(token) for token in ("good", "both")]
    assert [user and user.name for user in found] == ["jane", "joan"]
    with pytest.raises(StatusError):
        await sources.user_of("nobody knows")


async def test_a_source_is_not_asked_about_what_it_does_not_recognise(sources: Sources, table: TableProvider) -> None:
    assert await sources.user_of("other-kind") is None
    assert await sources.user_of("x" * 100_000) is None
    assert table.asked == []
