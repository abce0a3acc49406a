"""A tenant's issuer of service accounts' tokens, as OpenID Connect discovery has it: who signs, and with which key.

So that others (a vault, a cloud) can check such a token themselves. The issuer's URL names the tenant and leads here.
"""

from aiohttp import web

from hypernetes.api.status import StatusError
from hypernetes.apiserver.authn import serviceaccounts
from hypernetes.apiserver.handlers import negotiation
from hypernetes.apiserver.handlers.context import Call

CONFIGURATION_PATH = [".well-known", "openid-configuration"]
KEYS_PATH = ["openid", "v1", "jwks"]
_KEEP_SECONDS = 3600


async def configuration(call: Call) -> web.StreamResponse:
    _check_get(call)
    issuer = serviceaccounts.issuer(call.one_tenant)
    answer = negotiation.answer(
        {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/{'/'.join(KEYS_PATH)}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [serviceaccounts.ALGORITHM],
        }
    )
    answer.headers["Cache-Control"] = f"public, max-age={_KEEP_SECONDS}"
    return answer


async def keys(call: Call) -> web.StreamResponse:
    """The public halves of the tenant's keys. Raises Unavailable."""
    _check_get(call)
    tenant_uid = call.parts.lookups.tenant_uid(call.one_tenant) or ""
    ring = await call.parts.token_keys.ring(call.one_tenant, tenant_uid)
    public = [
        {
            **key.as_dict(private=False), "use": "sig", "alg": serviceaccounts.ALGORITHM,
            "kid": serviceaccounts.key_id(key),
        }
        for key in ring.verifying(call.parts.clock())
    ]  # fmt: skip
    answer = negotiation.answer({"keys": public})
    answer.headers["Content-Type"] = "application/jwk-set+json"
    answer.headers["Cache-Control"] = f"public, max-age={_KEEP_SECONDS}"
    return answer


def _check_get(call: Call) -> None:
    if call.http.method != "GET":
        raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
