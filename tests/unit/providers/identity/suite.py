"""What every identity provider must do. A test module derives from `IdentitySuite` and says how to make its parts."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from hypernetes.providers.identity.base import Identity, IdentityProvider, ProviderUnavailable


@dataclass
class Site:
    """An opened provider, and what is true where it asks."""

    provider: IdentityProvider
    token: str  # is good
    identity: Identity  # whose it is: user, tenant and groups are compared
    revoked: tuple[str, ...]  # tokens that open nothing (any more), each by itself
    unavailable: IdentityProvider  # another one, opened, whose back end isn't there


class IdentitySuite:
    """Give a fixture `site`."""

    async def test_a_good_token_is_its_users(self, site: Site) -> None:
        found = await site.provider.identity_of(site.token)
        assert found is not None
        wanted = site.identity
        assert (found.user, found.tenant, set(found.groups)) == (wanted.user, wanted.tenant, set(wanted.groups))
        assert site.provider.recognises(site.token)

    async def test_an_identity_is_well_formed(self, site: Site) -> None:
        found = await site.provider.identity_of(site.token)
        assert found is not None
        assert found.user
        assert not found.user.startswith("system:")
        assert [group for group in found.groups if group.startswith("system:") and group != "system:masters"] == []
        assert bool(found.tenant.name) is not bool(found.tenant.id)
        assert all(key == key.lower() and isinstance(values, tuple) for key, values in found.extra.items())
        if found.expires_at is not None:
            assert found.expires_at > datetime.now(UTC)
        if found.issued_at is not None:
            assert found.issued_at <= datetime.now(UTC) + timedelta(minutes=1)

    async def test_what_opens_nothing_is_nobody(self, site: Site) -> None:
        for token in site.revoked:
            assert await site.provider.identity_of(token) is None, token[:40]

    @pytest.mark.parametrize(
        "token",
        [
            "x",
            "a.b.c",
            "....",
            "eyJhbGciOiJub25lIn0.e30.",
            "é" * 100,
            "x" * 16_384,
            "gAAAAA" + "A" * 200,
            "\x00",
            "%2e",
        ],
        ids=["short", "dots", "many dots", "unsigned", "not ASCII", "long", "like Fernet", "zero", "encoded"],
    )
    async def test_any_text_is_answered(self, site: Site, token: str) -> None:
        assert isinstance(site.provider.recognises(token), bool)
        assert await site.provider.identity_of(token) is None

    async def test_a_changed_token_is_nobodys(self, site: Site) -> None:
        for changed in (site.token[:-8] + "AAAAAAAA", "A" + site.token[1:], site.token + site.token[-4:]):
            if changed != site.token:
                assert await site.provider.identity_of(changed) is None

    async def test_questions_side_by_side_are_answered_alike(self, site: Site) -> None:
        found = await asyncio.gather(*(site.provider.identity_of(site.token) for _ in range(16)))
        assert {each.user for each in found if each is not None} == {site.identity.user}
        assert None not in found

    async def test_a_question_may_be_given_up(self, site: Site) -> None:
        asked = asyncio.ensure_future(site.provider.identity_of(site.token))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert await site.provider.identity_of(site.token) is not None

    async def test_who_cannot_know_says_so(self, site: Site) -> None:
        with pytest.raises(ProviderUnavailable) as caught:
            await site.unavailable.identity_of(site.token)
        assert site.token not in str(caught.value)

    async def test_answers_are_used_for_a_bounded_time(self, site: Site) -> None:
        assert timedelta(0) <= site.provider.fresh_for <= site.provider.stale_for

    async def test_tenants_have_ids_of_their_own(self, site: Site) -> None:
        ids = [each.id for each in await site.provider.tenants()]
        assert len(ids) == len(set(ids))
        if site.identity.tenant.id:
            assert site.identity.tenant.id in ids
        for each in await site.provider.tenants():
            assert await site.provider.tenant(each.id) == each

    async def test_what_is_no_id_of_a_tenant_is_gone(self, site: Site) -> None:
        for id in ("", "none", "../users", "%2e%2e", "a/b?c=d", "é"):
            assert await site.provider.tenant(id) is None

    async def test_closing_twice_is_no_error(self, site: Site) -> None:
        await site.provider.close()
        await site.provider.close()
