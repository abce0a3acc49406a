"""Issuers of JWTs, a webhook that reviews tokens, and a proxy in front: each a real server or client over TLS."""

import asyncio
import base64
import contextlib
import hmac
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from hypernetes.api import times
from hypernetes.api.tenancy import TenantSAN
from hypernetes.apiserver.authn import jwtissuers, jwtkeys
from hypernetes.apiserver.authn.frontproxy import FrontProxy
from hypernetes.apiserver.authn.jwtissuers import JwtIssuers
from hypernetes.apiserver.authn.webhook import TokenWebhook
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.pki import APISERVER, Authority, PkiDirectory, Profile, server_context
from hypernetes.pki.certificates import key_pem, new_key
from hypernetes.providers.identity.base import ConfigurationError, Identity, ProviderUnavailable, TenantReference
from tests.integration.api.servers import User, serving
from tests.unit.providers.identity.suite import IdentitySuite, Site

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
ES = ECKey.generate_key("P-256", {"kid": "es"})
RSA = RSAKey.generate_key(2048, {"kid": "rs"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
SHARED = OctKey.import_key("a secret that is shared by all of us", {"kid": "oct"})
with warnings.catch_warnings(action="ignore"):
    WEAK = RSAKey.generate_key(1024, {"kid": "weak"})


class Tls:
    """Servers on this machine, with certificates of an authority of their own."""

    def __init__(self, directory: Path, stack: AsyncExitStack) -> None:
        self._pki, self._stack = PkiDirectory(directory / "others", "others"), stack
        self._pki.ensure_authority(times.now())
        self._pki.ensure(APISERVER, times.now(), addresses=["127.0.0.1"])

    @property
    def authority(self) -> str:
        return self._pki.ca_certificate.read_text()

    async def serve(self, handler: Handler) -> str:
        pki = self._pki
        context = server_context(
            pki.certificate(APISERVER), pki.key(APISERVER), pki.ca_certificate, require_client=False
        )
        runner = web.ServerRunner(web.Server(handler), shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        return f"https://127.0.0.1:{runner.addresses[0][1]}"


@pytest.fixture
async def tls(tmp_path: Path) -> AsyncIterator[Tls]:
    async with AsyncExitStack() as stack:
        yield Tls(tmp_path, stack)


class IdentityProviderSite:
    """An OpenID provider."""

    def __init__(self) -> None:
        self.keys: list[Any] = [
            ES,
            RSA,
            ED,
            WEAK,
            SHARED,
        ]
        self.url = ""
        self.document: dict[str, Any] | None = None
        self.asked: list[str] = []

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path == "/.well-known/openid-configuration":
            return web.json_response(self.document or {"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        if request.path == "/keys":
            return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys]})
        return web.Response(status=302, headers={"Location": f"{self.url}/keys"})

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(times.now().timestamp())
        claims = {
            "iss": self.url, "aud": "kubernetes", "sub": "jane", "iat": now, "exp": now + 600, "org": "acme",
            "groups": ["dev"],
        }  # fmt: skip
        return {name: value for name, value in {**claims, **changed}.items() if value is not None}

    def token(self, key: Any = ES, algorithm: str = "ES256", **changed: Any) -> str:
        header = {"alg": algorithm, **({"kid": key.kid} if key.kid else {})}
        return jwt.encode(header, self.claims(**changed), key, algorithms=[algorithm])


async def openid(tls: Tls) -> IdentityProviderSite:
    site = IdentityProviderSite()
    site.url = await tls.serve(site.answer)
    return site


def configured(directory: Path, tls: Tls, url: str, **issuer: Any) -> Path:
    path = directory / "authentication.yaml"
    entry = {
        "issuer": {"url": url, "audiences": ["kubernetes"], "certificateAuthority": tls.authority, **issuer},
        "tenant": {"claim": "org"},
        "claimMappings": {
            "username": {"claim": "sub", "prefix": "id:"}, "groups": {"claim": "groups", "prefix": "id:"},
        },
    }  # fmt: skip
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    path.write_text(yaml.safe_dump({**head, "jwt": [entry]}))
    return path


@asynccontextmanager
async def opened(provider: Any) -> AsyncIterator[Any]:
    await provider.open()
    try:
        yield provider
    finally:
        await provider.close()


def forged(site: IdentityProviderSite) -> tuple[str, ...]:
    """Tokens that open nothing, each for its own reason."""

    def encoded(value: Any) -> str:
        return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()

    head, payload, signature = site.token().split(".")
    public = RSA.as_pem(private=False)
    head_of_hmac = encoded({"alg": "HS256", "kid": "rs"})
    confused = hmac.digest(public, f"{head_of_hmac}.{payload}".encode(), "sha256")
    other = ECKey.generate_key("P-256", {"kid": "es"})
    return (
        site.token(exp=int(times.now().timestamp()) - 1), site.token(exp=None), site.token(aud="others"),
        site.token(iss=f"{site.url}/"), site.token(iss="https://127.0.0.1:1"), site.token(sub=None),
        site.token(org="system"), site.token(org="Not A Tenant"), site.token(nbf=int(times.now().timestamp()) + 60),
        site.token(other), site.token(ECKey.generate_key("P-256", {"kid": "unknown"})), site.token(WEAK, "RS256"),
        f"{encoded({'alg': 'none'})}.{payload}.", f"{encoded({'alg': 'none', 'kid': 'es'})}.{payload}.{signature}",
        f"{head}.{payload}.", f"{head}.{encoded(site.claims(sub='admin'))}.{signature}",
        f"{head_of_hmac}.{payload}.{base64.urlsafe_b64encode(confused).rstrip(b'=').decode()}",
        site.token(SHARED, "HS256"),
        f"{encoded({'alg': 'ES256', 'kid': 'es', 'jwk': other.as_dict(private=False)})}.{payload}.{signature}",
    )  # fmt: skip


class TestJwtIssuers(IdentitySuite):
    @pytest.fixture
    async def site(self, tmp_path: Path, tls: Tls) -> AsyncIterator[Site]:
        issuer = await openid(tls)
        away = tmp_path / "away"
        away.mkdir()
        gone = await tls.serve(lambda request: asyncio.sleep(0, web.Response(status=500)))
        wanted = Identity("id:jane", TenantReference("acme"), ("id:dev",))
        async with (
            opened(JwtIssuers(configured(tmp_path, tls, issuer.url))) as provider,
            opened(JwtIssuers(configured(away, tls, issuer.url, discoveryURL=f"{gone}/d"))) as unavailable,
        ):
            yield Site(provider, issuer.token(), wanted, forged(issuer), unavailable)


async def test_tokens_of_each_algorithm_that_counts_open_the_api(tmp_path: Path, tls: Tls) -> None:
    issuer = await openid(tls)
    async with opened(JwtIssuers(configured(tmp_path, tls, issuer.url))) as provider:
        for key, algorithm in ((ES, "ES256"), (RSA, "RS256"), (RSA, "PS512"), (ED, "EdDSA")):
            assert await provider.identity_of(issuer.token(key, algorithm)) is not None, algorithm
        nameless = ECKey.import_key({name: value for name, value in ES.as_dict(private=True).items() if name != "kid"})
        assert await provider.identity_of(issuer.token(nameless)) is not None
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"], "once, however many tokens"


async def test_new_keys_count_soon_and_former_ones_end(
    tmp_path: Path, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = await openid(tls)
    async with opened(JwtIssuers(configured(tmp_path, tls, issuer.url))) as provider:
        old = issuer.token()
        assert await provider.identity_of(old) is not None
        issuer.keys = [ECKey.generate_key("P-256", {"kid": "new"})]
        new = issuer.token(issuer.keys[0])
        assert await provider.identity_of(new) is None, "it was asked a moment ago"
        monkeypatch.setattr(jwtkeys, "_UNKNOWN_SECONDS", 0.0)
        assert await provider.identity_of(new) is not None
        assert await provider.identity_of(old) is None


@pytest.mark.parametrize(
    "document", [{"issuer": "https://other"}, {"jwks_uri": "http://127.0.0.1/keys"}, {"jwks_uri": None}]
)
async def test_a_discovery_document_that_leads_astray_is_not_followed(
    tmp_path: Path, tls: Tls, document: dict[str, Any]
) -> None:
    issuer = await openid(tls)
    issuer.document = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys", **document}
    async with opened(JwtIssuers(configured(tmp_path, tls, issuer.url))) as provider:
        with pytest.raises(ProviderUnavailable):
            await provider.identity_of(issuer.token())
        assert "/keys" not in issuer.asked


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_discovery_document_leads_to_no_other_server_on_this_machine(
    tmp_path: Path, tls: Tls, host: str
) -> None:
    issuer, other = await openid(tls), await openid(tls)
    other.keys, other.document = issuer.keys, {}
    elsewhere = f"{other.url.replace('127.0.0.1', host)}/keys"
    issuer.document = {"issuer": issuer.url, "jwks_uri": elsewhere}
    path = configured(tmp_path, tls, issuer.url)
    async with opened(JwtIssuers(path)) as provider:
        with pytest.raises(ProviderUnavailable):
            await provider.identity_of(issuer.token())
    assert not other.asked
    async with opened(JwtIssuers(path)) as provider:
        provider._named.add(elsewhere.removeprefix("https://").removesuffix("/keys"))  # as if it were configured
        with contextlib.suppress(ProviderUnavailable):  # the certificate doesn't list `localhost`
            assert await provider.identity_of(issuer.token()) is not None
        assert other.asked or host == "localhost"


async def test_no_redirect_is_followed_and_no_other_authority_believed(tmp_path: Path, tls: Tls) -> None:
    issuer = await openid(tls)
    for changed in ({"discoveryURL": f"{issuer.url}/elsewhere"}, {"certificateAuthority": ""}):
        async with opened(JwtIssuers(configured(tmp_path, tls, issuer.url, **changed))) as provider:
            with pytest.raises(ProviderUnavailable):
                await provider.identity_of(issuer.token())
    assert "/keys" not in issuer.asked


async def test_the_file_is_read_again_and_a_broken_one_changes_nothing(
    tmp_path: Path, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwtissuers, "_LOOK_SECONDS", 0.02)
    issuer = await openid(tls)
    path = configured(tmp_path, tls, issuer.url)
    good = path.read_text()
    with pytest.raises(ConfigurationError):
        await JwtIssuers(tmp_path / "missing").open()
    async with opened(JwtIssuers(path)) as provider, asyncio.timeout(20):
        assert provider.allows_anonymous("/livez")
        path.write_text("broken: [")
        await provider.reload((0, 0))
        assert await provider.identity_of(issuer.token()) is not None
        path.write_text(good + "anonymous: {enabled: false}\n")
        while provider.allows_anonymous("/livez"):
            await asyncio.sleep(0.01)
        path.write_text(good.replace("kubernetes", "others"))
        while await provider.identity_of(issuer.token()) is not None:
            await asyncio.sleep(0.01)


REVIEWED = {
    "good": {
        "username": "jane", "uid": "7", "groups": ["dev", "system:masters"],
        "extra": {"hypernetes.io/tenant": ["acme"]},
    },
    "no-tenant": {"username": "jane"},
    "of-the-provider": {"username": "jane", "extra": {"hypernetes.io/tenant": ["system"]}},
    "of-two": {"username": "jane", "extra": {"hypernetes.io/tenant": ["acme", "globex"]}},
    "the-clusters": {"username": "system:admin", "extra": {"hypernetes.io/tenant": ["acme"]}},
}  # fmt: skip


async def review(request: web.BaseRequest) -> web.StreamResponse:
    asked = orjson.loads(await request.read())
    user = REVIEWED.get(asked["spec"]["token"])
    status = {"authenticated": False} if user is None else {"authenticated": True, "user": user}
    if asked["spec"]["token"] == "for-others":
        status = {"authenticated": True, "user": REVIEWED["good"], "audiences": ["others"]}
    return web.json_response({**asked, "status": status})


def kubeconfig(directory: Path, tls: Tls, url: str, name: str = "webhook.kubeconfig") -> Path:
    path = directory / name
    authority = base64.b64encode(tls.authority.encode()).decode()
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1", "kind": "Config", "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority-data": authority}}],
                "users": [{"name": "u", "user": {"token": "ours"}}],
            }
        )
    )  # fmt: skip
    return path


class TestWebhook(IdentitySuite):
    @pytest.fixture
    async def site(self, tmp_path: Path, tls: Tls) -> AsyncIterator[Site]:
        url = await tls.serve(review)
        broken = await tls.serve(lambda request: asyncio.sleep(0, web.Response(text="no review")))
        wanted = Identity("jane", TenantReference("acme"), ("dev",))
        minutes = timedelta(minutes=2)
        async with (
            opened(TokenWebhook(kubeconfig(tmp_path, tls, url), minutes)) as provider,
            opened(TokenWebhook(kubeconfig(tmp_path, tls, broken, "other"), minutes)) as unavailable,
        ):
            bad = ("bad", "no-tenant", "of-the-provider", "of-two", "the-clusters", "for-others")
            yield Site(provider, "good", wanted, bad, unavailable)


async def made(answering: Any) -> Any:
    answer = await answering
    assert answer.status in (200, 201), answer.body
    return answer.json


async def who(nobody: User, headers: dict[str, str]) -> Any:
    answer = await nobody("POST", SELF, {}, headers=headers)
    return answer.json["status"]["userInfo"] if answer.status == 201 else answer.status


async def test_all_of_them_open_one_server_and_only_their_tenants(tmp_path: Path, tls: Tls) -> None:
    issuer, reviewer = await openid(tls), await tls.serve(review)
    proxy = Authority.create("proxy", times.now())
    (tmp_path / "proxy.crt").write_bytes(proxy.pem)
    issuers = JwtIssuers(configured(tmp_path, tls, issuer.url))
    providers = [issuers, TokenWebhook(kubeconfig(tmp_path, tls, reviewer), timedelta(minutes=2))]
    store = await open_store(str(tmp_path / "state.db"))
    front = FrontProxy(tmp_path / "proxy.crt", ["front"])
    more = {"front_proxy": front, "identity_providers": providers, "allows_anonymous": issuers.allows_anonymous}

    def shown(name: str, authority: Authority = proxy, san: Any = None) -> tuple[bytes, bytes]:
        key = new_key()
        profile = Profile(name, ("system:masters",), san, client=True)
        return authority.issue(profile, key.public_key(), times.now(), timedelta(days=1)), key_pem(key)

    async with serving(store, tmp_path, "external", **more) as admin, admin.anonymous() as nobody:
        assert await who(nobody, {"Authorization": f"Bearer {issuer.token()}"}) == 401, "there is no such tenant yet"
        async with await admin.tenant("acme") as acme:
            early = issuer.token(iat=int(times.now().timestamp()) - 3600)
            assert await who(nobody, {"Authorization": f"Bearer {early}"}) == 401, "older than the tenant"
            found = await who(nobody, {"Authorization": f"Bearer {issuer.token(iat=int(times.now().timestamp()) + 1)}"})
            assert (found["username"], found["groups"]) == ("id:jane", ["id:dev", "system:authenticated"])
            reviewed = {"Authorization": "Bearer good"}
            assert await who(nobody, reviewed) == {
                "username": "jane",
                "uid": "7",
                "groups": ["dev", "system:authenticated"],
                "extra": {"hypernetes.io/tenant": ["acme"]},
            }
            assert (await nobody("GET", "/tenants/system/api/v1/secrets", headers=reviewed)).status == 403
            for token in ("bad", "no-tenant", "of-the-provider", *forged(issuer)[:8]):
                assert await who(nobody, {"Authorization": f"Bearer {token}"}) == 401
            review_of = {"spec": {"token": "good"}}
            status = (await made(acme("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review_of)))["status"]
            assert status["user"]["username"] == "jane"
            said = {
                "X-Remote-User": "joan",
                "X-Remote-Group": "ops",
                "X-Remote-Tenant": "acme",
                "X-Remote-Extra-A": "b",
            }
            async with admin.holder(*shown("front")) as trusted, admin.holder(*shown("other")) as other:
                found = await who(trusted, said)
                assert (found["username"], found["groups"]) == ("joan", ["ops", "system:authenticated"])
                assert found["extra"] == {"a": ["b"], "hypernetes.io/tenant": ["acme"]}
                for changed in (
                    {"X-Remote-Tenant": "system"}, {"X-Remote-Tenant": ""}, {"X-Remote-Tenant": "nobody"},
                    {"X-Remote-User": "system:admin"}, {"X-Remote-User": ""},
                ):  # fmt: skip
                    assert await who(trusted, {**said, **changed}) == 401
                assert (
                    "system:masters" not in (await who(trusted, {**said, "X-Remote-Group": "system:masters"}))["groups"]
                )
                assert await who(trusted, {}) == 401
                assert await who(other, said) == 401
            for user in (nobody, acme):
                found = await who(user, said)
                assert found in (401, 403) or found["username"] == "acme-admin"
            uid = (await made(admin("GET", "/apis/hypernetes.io/v1/tenants/acme")))["metadata"]["uid"]
            async with admin.holder(*shown("acme-admin", san=TenantSAN("external", "acme", uid))) as impostor:
                assert await who(impostor, {}) == 401, "the proxy's authority makes nobody of a tenant"
    await store.close()
