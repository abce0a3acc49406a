import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.api.status import StatusError
from hypernetes.apiserver.authn import passwords
from hypernetes.apiserver.authn.passwords import NOBODYS, Hasher, PasswordHash


@settings(max_examples=20)
@given(st.text(), st.text() | st.just("x"))
def test_a_password_matches_its_own_hash_only(one: str, other: str):
    hashed = PasswordHash(4, 1, 1, b"salt", passwords._derive(one, 4, 1, 1, b"salt"))
    again = PasswordHash.parse(str(hashed))
    assert again == hashed
    assert passwords.matches(one, again)
    assert passwords.matches(other, again) is (
        one.encode(errors="surrogatepass") == other.encode(errors="surrogatepass")
    )


async def test_hashes_are_salted_slow_by_intent_and_hold_no_password():
    hasher = Hasher()
    one, two = await asyncio.gather(hasher.make("correct horse"), hasher.make("correct horse"))
    assert one.salt != two.salt
    assert one.key != two.key
    assert "correct" not in str(one)
    assert (one.log_n, one.r, one.p) == (NOBODYS.log_n, NOBODYS.r, NOBODYS.p), "as much work for nobody as for somebody"
    assert await hasher.matches("correct horse", one)
    assert not await hasher.matches("correct horses", one)
    assert not await hasher.matches("", NOBODYS)


async def test_who_would_wait_behind_too_many_is_refused_and_places_come_free(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(passwords, "_AT_ONCE", 1)
    monkeypatch.setattr(passwords, "_WAITING", 1)
    hasher = Hasher()
    await hasher.enter()
    waiting = asyncio.create_task(hasher.enter())
    await asyncio.sleep(0)
    with pytest.raises(StatusError) as caught:
        await hasher.enter()
    assert caught.value.code == 429
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    hasher.leave()
    await hasher.enter()
