"""Anybody who is let can check a service account's token without asking us: OpenID Connect discovery, per tenant."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api.servers import User, serving

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
CONFIGURATION = "/.well-known/openid-configuration"


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[User]:
    store = await open_store(str(tmp_path / "state.db"))
    async with serving(store, tmp_path, "issuers") as user:
        yield user
    await store.close()


async def token(user: User) -> str:
    issued = await user("POST", f"{ACCOUNTS}/default/token", {"spec": {"audiences": ["vault"]}})
    assert issued.status == 201, issued.body
    encoded: str = issued.json["status"]["token"]
    return encoded


async def test_a_token_leads_to_the_key_that_signed_it_and_to_no_other_tenants(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        keys = {}
        for user in (acme, globex):
            encoded = await token(user)
            payload = encoded.split(".")[1]
            issuer = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iss"]
            found = await user("GET", urlsplit(issuer).path + CONFIGURATION)
            assert found.status == 200, found.body
            assert found.json["issuer"] == issuer
            assert (await user("GET", CONFIGURATION)).json == found.json
            listed = await user("GET", urlsplit(found.json["jwks_uri"]).path)
            assert listed.headers["Content-Type"] == "application/jwk-set+json"
            assert b'"d"' not in listed.body  # no private half
            keys[user] = KeySet.import_key_set(listed.json)
            assert jwt.decode(encoded, keys[user], algorithms=["ES256"]).claims["aud"] == ["vault"]
        with pytest.raises(JoseError, match="No key"):
            jwt.decode(await token(acme), keys[globex], algorithms=["ES256"])
        assert (await acme("GET", f"/tenants/globex{CONFIGURATION}")).status == 403
        assert (await acme("POST", CONFIGURATION)).status == 405


async def test_service_accounts_may_read_it_and_nobody_without_a_credential(admin: User) -> None:
    async with await admin.tenant("acme") as acme, admin.anonymous() as nobody:
        issued = await acme("POST", f"{ACCOUNTS}/default/token", {"spec": {}})
        headers = {"Authorization": f"Bearer {issued.json['status']['token']}"}
        for path in (CONFIGURATION, "/openid/v1/jwks"):
            assert (await nobody("GET", path, headers=headers)).status == 200
            assert (await nobody("GET", path)).status == 403
