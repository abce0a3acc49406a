import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from joserfc.jwk import ECKey

from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import TenantSAN
from hypernetes.apiserver.authn import Authenticator, User
from hypernetes.apiserver.authn.serviceaccounts import ISSUER_BASE, BoundObject, ServiceAccountToken, sign
from hypernetes.apiserver.authn.static_tokens import TokenFileError, load, read_tokens
from hypernetes.apiserver.authn.tokenkeys import TokenKeys
from hypernetes.apiserver.storage.base import Item, KeyExists
from hypernetes.pki import Authority, Profile
from hypernetes.pki.certificates import load_certificate, new_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLUSTER = "abc123"
UID = "6a0e2f6c-34a5-4f9e-9a80-0d8f8a9d3f10"
OTHER_UID = "00000000-34a5-4f9e-9a80-0d8f8a9d3f10"
STATIC = "a-token-of-the-file"
AUTHORITY = Authority.create(CLUSTER, NOW)


class Store:
    """A dictionary in the place of the store, for the two calls that keys need."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get(self, key: str, *, revision: int | None = None) -> Item | None:
        await asyncio.sleep(0)
        value = self.values.get(key)
        return None if value is None else Item(key, value, 1)

    async def create(self, key: str, value: bytes) -> int:
        await asyncio.sleep(0)
        if key in self.values:
            raise KeyExists(key)
        self.values[key] = value
        return 1


class Living:
    def __init__(self) -> None:
        self.tenants = {"acme": UID}

    def tenant_uid(self, tenant: str) -> str | None:
        return self.tenants.get(tenant)

    def service_account_uid(self, tenant: str, namespace: str, name: str) -> str | None:
        return "sa1"

    def pod_uid(self, tenant: str, namespace: str, name: str) -> str | None:
        return None


@pytest.fixture
def living() -> Living:
    return Living()


@pytest.fixture
def keys() -> TokenKeys:
    return TokenKeys(Store(), "/hypernetes/abc123")  # type: ignore[arg-type]


@pytest.fixture
def authenticator(living: Living, keys: TokenKeys) -> Authenticator:
    tokens = read_tokens([f'{STATIC}, robot, acme, {UID}, "dev,ops"'])
    return Authenticator(CLUSTER, living, keys, tokens, clock=lambda: NOW)


def certificate(san: TenantSAN | None, lifetime: timedelta = timedelta(days=1)) -> bytes:
    pem = AUTHORITY.issue(Profile("jane", ("dev",), san, client=True), new_key().public_key(), NOW, lifetime)
    return load_certificate(pem).public_bytes(serialization.Encoding.DER)


def account_token(key: ECKey, tenant_uid: str = UID) -> str:
    token = ServiceAccountToken(
        "acme", tenant_uid, "web", BoundObject("default", "sa1"), None,
        ("https://kubernetes.default.svc.cluster.local",), NOW, NOW + timedelta(hours=1), "id",
    )  # fmt: skip
    return f"Bearer {sign(token, key)}"


async def test_a_certificate_is_its_common_name_in_its_tenant(authenticator: Authenticator):
    user = await authenticator.authenticate(certificate(TenantSAN(CLUSTER, "acme", UID)), None)
    assert user == User("jane", ("dev", "system:authenticated"), "acme", UID)


@pytest.mark.parametrize(
    "san",
    [
        None,
        TenantSAN(CLUSTER, "acme", OTHER_UID),
        TenantSAN(CLUSTER, "globex", UID),
        TenantSAN("other1", "acme", UID),
    ],
    ids=["names no tenant", "tenant made again since", "no such tenant", "another cluster"],
)
async def test_a_certificate_that_opens_nothing_is_unauthorized(authenticator: Authenticator, san: TenantSAN | None):
    with pytest.raises(StatusError) as caught:
        await authenticator.authenticate(certificate(san), None)
    assert (caught.value.code, caught.value.message) == (401, "Unauthorized")


async def test_a_connection_that_outlives_its_certificate_is_unauthorized(authenticator: Authenticator):
    expired = certificate(TenantSAN(CLUSTER, "acme", UID), timedelta(0))
    with pytest.raises(StatusError):
        await authenticator.authenticate(expired, None)


async def test_a_service_accounts_token_opens_its_tenant(authenticator: Authenticator, keys: TokenKeys):
    header = account_token(await keys.of("acme", UID))
    for _ in range(2):  # the second time its signature is known
        user = await authenticator.authenticate(None, header)
        assert (user.name, user.tenant) == ("system:serviceaccount:web:default", "acme")


async def test_a_tenant_made_again_accepts_no_earlier_token(
    authenticator: Authenticator, keys: TokenKeys, living: Living
):
    header = account_token(await keys.of("acme", UID))
    robot = f"Bearer {STATIC}"
    await authenticator.authenticate(None, header)
    await authenticator.authenticate(None, robot)
    living.tenants["acme"] = OTHER_UID
    for credential in (header, robot):
        with pytest.raises(StatusError):
            await authenticator.authenticate(None, credential)
    fresh = account_token(await keys.of("acme", OTHER_UID), OTHER_UID)
    assert (await authenticator.authenticate(None, fresh)).tenant_uid == OTHER_UID


async def test_a_token_of_the_file_is_its_user(authenticator: Authenticator):
    user = await authenticator.authenticate(None, f"bearer {STATIC}")
    assert user == User("robot", ("dev", "ops", "system:authenticated"), "acme", UID)


@pytest.mark.parametrize(
    "header", ["Bearer a.b.c", "Bearer x", "bearer " + "x" * 100_000, f"Bearer {STATIC}x", "Bearer \udcff", "Bearer é"]
)
async def test_a_token_that_counts_for_nothing_is_unauthorized(authenticator: Authenticator, header: str):
    with pytest.raises(StatusError) as caught:
        await authenticator.authenticate(None, header)
    assert caught.value.code == 401


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", f"Token {STATIC}"])
async def test_who_shows_no_credential_is_anonymous_and_of_no_tenant(authenticator: Authenticator, header: str | None):
    user = await authenticator.authenticate(None, header)
    assert (user.name, user.groups, user.tenant) == ("system:anonymous", ("system:unauthenticated",), "")


async def test_only_a_certificate_of_the_provider_can_be_a_components(authenticator: Authenticator, living: Living):
    living.tenants["system"] = OTHER_UID
    of_acme = await authenticator.authenticate(certificate(TenantSAN(CLUSTER, "acme", UID)), None)
    of_system = await authenticator.authenticate(certificate(TenantSAN(CLUSTER, "system", OTHER_UID)), None)
    robot = await authenticator.authenticate(None, f"Bearer {STATIC}")
    assert (of_acme.component, of_system.component, robot.component) == (False, True, False)


async def test_a_review_knows_tokens_of_the_askers_tenant_only(
    authenticator: Authenticator, keys: TokenKeys, living: Living
):
    living.tenants["globex"] = OTHER_UID
    token = account_token(await keys.of("acme", UID)).removeprefix("Bearer ")
    for each in (token, STATIC):
        found = await authenticator.review(each, "acme", [])
        assert found is not None
        assert found[0].tenant == "acme"
        assert await authenticator.review(each, "globex", []) is None
        assert await authenticator.review(each, "acme", ["vault"]) is None
    both = await authenticator.review(token, "acme", ["vault", ISSUER_BASE])
    assert both is not None
    assert both[1] == [ISSUER_BASE]


async def test_a_token_counts_where_the_certificate_does_not(authenticator: Authenticator):
    user = await authenticator.authenticate(certificate(None), f"Bearer {STATIC}")
    assert user.name == "robot"


async def test_replicas_that_start_together_agree_on_one_key():
    store = Store()
    first, second = TokenKeys(store, "/p"), TokenKeys(store, "/p")  # type: ignore[arg-type]
    one, two = await asyncio.gather(first.of("acme", UID), second.of("acme", UID))
    assert one.thumbprint() == two.thumbprint()
    assert list(store.values) == [f"/p/~tokenkeys/acme/{UID}"]


async def test_tenants_have_keys_of_their_own():
    keys = TokenKeys(Store(), "/p")  # type: ignore[arg-type]
    one, two = await keys.of("acme", UID), await keys.of("globex", OTHER_UID)
    assert one.thumbprint() != two.thumbprint()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("short,u,acme,uid", "16 characters"),
        ("a-token-of-the-file,u,acme", "expected"),
        ("a-token-of-the-file,,acme,uid", "must be given"),
        ("a-token-of-the-file,u,Not A Label,uid", "must be given"),
    ],
)
def test_a_bad_token_file_names_the_line_and_no_token(line: str, problem: str):
    with pytest.raises(TokenFileError, match=problem) as caught:
        read_tokens(["# comment", line])
    assert "line 2" in str(caught.value)
    assert STATIC not in str(caught.value)


def test_a_token_may_not_stand_twice():
    with pytest.raises(TokenFileError, match="earlier line"):
        read_tokens([f"{STATIC},u,acme,uid", f"{STATIC},v,acme,uid"])


def test_a_missing_token_file_has_no_tokens_and_a_bad_one_is_named(tmp_path: Path):
    assert load(tmp_path / "tokens.csv") == {}
    (tmp_path / "tokens.csv").write_text(f"{STATIC},robot,acme,{UID}\n")
    assert [user.name for user in load(tmp_path / "tokens.csv").values()] == ["robot"]
    (tmp_path / "tokens.csv").write_text("nonsense\n")
    with pytest.raises(TokenFileError, match=r"tokens\.csv: line 1"):
        load(tmp_path / "tokens.csv")
