"""Users whom the cluster knows by itself: what they may, how they come in, and when that ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hypernetes.apiserver.authn import guessing, passwords
from hypernetes.apiserver.authn.passwords import PasswordHash, matches
from hypernetes.apiserver.storage.base import Store
from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api.servers import Answer, User, serving

USERS = "/apis/hypernetes.io/v1/users"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
PODS = "/api/v1/namespaces/default/pods"
PASSWORD = "correct horse battery"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(str(tmp_path / "state.db"))
    yield opened
    await opened.close()


@pytest.fixture
async def admin(store: Store, tmp_path: Path) -> AsyncIterator[User]:
    async with serving(store, tmp_path, "users1") as user:
        yield user


async def made(answering: Any) -> Any:
    answer = await answering
    assert answer.status in (200, 201), answer.body
    return answer.json


async def user(owner: User, name: str = "jane", password: str = PASSWORD, **spec: Any) -> Any:
    obj = await made(owner("POST", USERS, {"metadata": {"name": name}, "spec": spec}))
    if password:
        await made(owner("POST", f"{USERS}/{name}/password", {"spec": {"password": password}}))
    return obj


async def login(nobody: User, tenant: str = "acme", name: str = "jane", password: str = PASSWORD) -> Answer:
    return await nobody("POST", f"/tenants/{tenant}/login", {"spec": {"username": name, "password": password}})


async def token(nobody: User, **who: str) -> str:
    return (await made(login(nobody, **who)))["status"]["token"]


def bearer(shown: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {shown}"}


async def status(nobody: User, shown: str, path: str = "/api") -> int:
    return (await nobody("GET", path, headers=bearer(shown))).status


async def test_a_user_logs_in_and_is_what_the_tenant_made_of_them(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex, acme.anonymous() as nobody:
        obj = await user(acme, groups=["dev"])
        await user(globex, name="jane", password="another password")
        granted = await made(login(nobody))
        assert granted["status"]["expirationTimestamp"]
        shown = granted["status"]["token"]
        info = (await made(nobody("POST", SELF, {}, headers=bearer(shown))))["status"]["userInfo"]
        assert info == {
            "username": "jane", "uid": obj["metadata"]["uid"], "groups": ["dev", "system:authenticated"],
        }  # fmt: skip
        assert await status(nobody, shown, PODS) == 403
        binding = {
            "metadata": {"name": "dev"}, "subjects": [{"kind": "Group", "name": "dev"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        }  # fmt: skip
        for owner in (acme, globex):
            await made(owner("POST", f"{RBAC}/namespaces/default/rolebindings", binding))
        assert await status(nobody, shown, PODS) == 200
        for path in (
            f"/tenants/globex{PODS}",
            f"/tenants/system{PODS}",
            f"/tenants/*{PODS}",
            f"/tenants/globex{USERS}",
        ):
            assert await status(nobody, shown, path) == 403
        assert await status(nobody, shown, USERS) == 403
        review = {"spec": {"token": shown}}
        assert (await made(acme("POST", REVIEWS, review)))["status"]["authenticated"]
        assert not (await made(globex("POST", REVIEWS, review)))["status"].get("authenticated")
        assert (await login(nobody, tenant="globex")).status == 401  # that jane has another password


async def test_what_is_revoked_is_so_at_once(admin: User) -> None:
    async with await admin.tenant("acme") as acme, acme.anonymous() as nobody:
        await user(acme)
        shown, other = await token(nobody), await token(nobody)
        assert [await status(nobody, each) for each in (shown, other)] == [200, 200]
        assert (await acme("DELETE", f"{USERS}/jane/token")).status == 200
        assert [await status(nobody, each) for each in (shown, other)] == [401, 401]
        shown = await token(nobody)
        await made(acme("PATCH", f"{USERS}/jane", {"spec": {"disabled": True}}, headers=MERGE))
        assert await status(nobody, shown) == 401
        assert (await login(nobody)).status == 401
        await made(acme("PATCH", f"{USERS}/jane", {"spec": {"disabled": False}}, headers=MERGE))
        assert await status(nobody, shown) == 200
        await made(acme("POST", f"{USERS}/jane/password", {"spec": {"password": "another password"}}))
        assert await status(nobody, shown) == 401
        assert (await login(nobody)).status == 401
        shown = await token(nobody, password="another password")
        assert (await acme("DELETE", f"{USERS}/jane")).status == 200
        assert await status(nobody, shown) == 401
        await user(acme, password="")
        assert await status(nobody, shown) == 401, "made again under the name"
        assert (await login(nobody, password="another password")).status == 401
        issued = await made(acme("POST", f"{USERS}/jane/token", {"spec": {"expirationSeconds": 600}}))
        assert await status(nobody, issued["status"]["token"]) == 200
        await made(admin("DELETE", "/apis/hypernetes.io/v1/tenants/acme"))
        async with asyncio.timeout(30):
            while (await admin("GET", "/apis/hypernetes.io/v1/tenants/acme")).status != 404:
                await asyncio.sleep(0.1)
        async with await admin.tenant("acme"):
            assert await status(nobody, issued["status"]["token"]) == 401


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hypernetes.apiserver.reauthorization.INTERVAL_SECONDS", 0.2)


async def test_an_open_watch_ends_with_the_token(impatient: None, admin: User) -> None:
    async with await admin.tenant("acme") as acme, acme.anonymous() as nobody:
        await user(acme)
        binding = {
            "metadata": {"name": "jane"}, "subjects": [{"kind": "User", "name": "jane"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        }  # fmt: skip
        await made(acme("POST", f"{RBAC}/namespaces/default/rolebindings", binding))
        async with nobody.watch(PODS, headers=bearer(await token(nobody)), resourceVersion="0") as watch:
            await made(acme("POST", f"{USERS}/jane/password", {"spec": {"password": "another password"}}))
            assert await watch.ended()


async def test_nothing_that_can_be_read_holds_a_password_a_hash_or_a_token(admin: User, store: Store) -> None:
    async with await admin.tenant("acme") as acme, acme.anonymous() as nobody:
        answered = await acme("POST", USERS, {"metadata": {"name": "jane"}})
        password = await acme("POST", f"{USERS}/jane/password", {"spec": {"password": PASSWORD}})
        shown = await token(nobody)
        item = await store.get("/hypernetes/users1/~users/acme/jane")
        assert item is not None
        hashed = item.value
        assert PASSWORD.encode() not in hashed
        assert shown.encode() not in hashed
        assert b"scrypt$" in hashed
        reads = [answered, password]
        for reader in (acme, admin):
            for path in (USERS, f"{USERS}/jane", "/tenants/acme" + USERS, "/tenants/acme/metadata"):
                reads.append(await reader("GET", path))
        reads.append(await admin("GET", "/tenants/*/metadata"))
        reads.append(await admin("GET", "/metrics"))
        for path in (f"{USERS}/jane/password", f"{USERS}/jane/token", "/~users/acme/jane", "/apis/~users/acme/jane"):
            reads.append(await acme("GET", path))
            assert reads[-1].status in (403, 404, 405)
        for read in reads:
            for word in (PASSWORD.encode(), b"scrypt", shown.rpartition("~")[2].encode()):
                assert word not in read.body


async def test_a_bad_password_is_refused_without_being_repeated(admin: User) -> None:
    await made(admin("POST", USERS, {"metadata": {"name": "jane"}}))
    for bad in ("", "short", "x" * 1025, 12345678, None):
        answer = await admin("POST", f"{USERS}/jane/password", {"spec": {"password": bad}})
        assert answer.status == 422
        assert b"short" not in answer.body
    assert (await admin("POST", f"{USERS}/jane/password", {"spec": {}})).status == 422
    assert (await admin("POST", f"{USERS}/nobody/password", {"spec": {"password": PASSWORD}})).status == 404


async def test_nobody_is_made_one_of_the_clusters_own(admin: User) -> None:
    for group in ("system:masters", "system:nodes", "system:", "", "a\nb", "x" * 254):
        answer = await admin("POST", USERS, {"metadata": {"name": "jane"}, "spec": {"groups": [group]}})
        assert answer.status == 422
    for name in ("system:admin", "system:node:n1", "Jane", "a/b", "a~b"):
        assert (await admin("POST", USERS, {"metadata": {"name": name}})).status == 422


async def test_every_way_to_fail_at_the_login_looks_alike_and_is_as_much_work(
    admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[tuple[int, int, int]] = []

    def counted(password: str, wanted: PasswordHash) -> bool:
        work.append((wanted.log_n, wanted.r, wanted.p))
        return matches(password, wanted)

    monkeypatch.setattr(passwords, "matches", counted)
    async with await admin.tenant("acme") as acme, acme.anonymous() as nobody:
        await user(acme)
        await user(acme, name="mute", password="")
        await user(acme, name="gone", disabled=True)
        wrong = {"password": "not the password"}
        ways: list[dict[str, str]] = [
            wrong, {"name": "nobody", **wrong}, {"name": "mute", **wrong}, {"name": "gone"}, {"tenant": "nowhere"},
            {"tenant": "system"}, {"name": "system:admin"}, {"name": "../jane"}, {"name": "jane/../jane"},
        ]  # fmt: skip
        answers = [await login(nobody, **way) for way in ways]
        assert {(each.status, each.body) for each in answers} == {(401, answers[0].body)}
        assert len(work) == len(ways)
        assert len(set(work)) == 1


async def test_guessing_is_slowed_down_for_those_who_are_there_and_those_who_are_not(
    admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guessing, "PER_MINUTE_AND_ADDRESS", 2)
    async with await admin.tenant("acme") as acme, acme.anonymous() as nobody:
        await user(acme)
        for name in ("jane", "nobody"):
            answers = [await login(nobody, name=name, password=f"guess {number}") for number in range(3)]
            assert [each.status for each in answers] == [401, 401, 429]
            assert answers[-1].status == 429
            assert int(answers[-1].headers["Retry-After"]) > 0


async def test_who_knows_the_password_may_give_themselves_another(admin: User) -> None:
    async with await admin.tenant("acme") as acme, acme.anonymous() as nobody:
        await user(acme)
        former = await token(nobody)

        async def changes(password: str, new: object, name: str = "jane") -> Answer:
            spec = {"username": name, "password": password, "newPassword": new}
            return await nobody("POST", "/tenants/acme/login", {"spec": spec})

        wrong = await changes("not the password", "another password")
        assert wrong.status == 401
        assert (await changes(PASSWORD, "another password", name="nobody")).body == wrong.body
        for bad in ("short", "x" * 5000, 7):
            refused = await changes(PASSWORD, bad)
            assert (refused.status, refused.json["details"]["causes"][0]["field"]) == (422, "spec.newPassword")
        assert await status(nobody, former) == 200
        changed = (await made(changes(PASSWORD, "another password")))["status"]["token"]
        assert await status(nobody, changed) == 200
        assert await status(nobody, former) == 401
        assert (await login(nobody)).status == 401
        assert (await login(nobody, password="another password")).status == 201


async def test_what_only_looks_like_a_token_or_a_login_opens_nothing(admin: User) -> None:
    async with admin.anonymous() as nobody:
        for shown in ("hnu~", "hnu~acme~jane~", "hnu~acme~jane~AAAA", "hnu~acme~jane", "hnu~../system~jane~x",
                      "hnu~acme~a/b~x", "hnu~acme~jane~" + "x" * 20_000, "hnu~~~~"):  # fmt: skip
            assert await status(nobody, shown) == 401
        for body, code in (
            (b"", 400), (b"{", 400), (b"[]", 400), (b'{"spec": 1}', 400), (b'{"spec": {"username": "jane"}}', 400),
            (b'{"spec": {"username": 1, "password": []}}', 400), (b"x" * 20_000, 413),
            (b'{"spec": {"username": "a", "password": "b", "expirationSeconds": 1}}', 422),
        ):  # fmt: skip
            assert (await nobody("POST", "/tenants/acme/login", body)).status == code
        assert (await nobody("GET", "/tenants/acme/login")).status == 403


async def test_a_user_has_a_bounded_number_of_tokens(admin: User) -> None:
    async with await admin.tenant("acme") as acme, acme.anonymous() as nobody:
        await user(acme, password="")
        tokens = []
        for number in range(34):
            body = {"spec": {"expirationSeconds": 600 + 60 * number}}
            tokens.append((await made(acme("POST", f"{USERS}/jane/token", body)))["status"]["token"])
        assert [await status(nobody, each) for each in tokens] == [401] * 2 + [200] * 32
