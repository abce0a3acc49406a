"""Tokens of service accounts: ES256 JWTs with an issuer and a key per tenant.

What a token is bound to (tenant, service account, and the pod it was made for) is written into it with UIDs, and is
looked up again at each request: a token ends with whichever of them goes first. The claims are those of KEP-1205, and
`hypernetes.io` with the tenant's UID.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.util import urlsafe_b64decode

from hypernetes.api import times
from hypernetes.api.models.authentication_v1 import TokenRequestSpec
from hypernetes.api.status import StatusError, cause, invalid
from hypernetes.api.tenancy import CLUSTER_DOMAIN, is_dns_label
from hypernetes.apiserver.authn.users import SERVICE_ACCOUNTS_GROUP, User, service_account_name, with_authenticated

ISSUER_BASE = f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}"
API_AUDIENCE = ISSUER_BASE  # what a token must be meant for to open the API
ALGORITHM = "ES256"
DEFAULT_LIFETIME = timedelta(hours=1)
MIN_LIFETIME = timedelta(minutes=10)  # as upstream's
MAX_LIFETIME = timedelta(hours=48)  # longer asks are shortened, and the answer says so
CLOCK_SKEW = timedelta(seconds=10)  # between replicas of the API server
MAX_TOKEN_BYTES = 8192

_TENANT_CLAIM = "hypernetes.io"
_KUBERNETES_CLAIM = "kubernetes.io"


class TokenError(ValueError):
    """A token opens nothing; the message is for our log and never for the client."""


@dataclass(frozen=True, slots=True)
class BoundObject:
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ServiceAccountToken:
    """What a token says."""

    tenant: str
    tenant_uid: str
    namespace: str
    account: BoundObject
    pod: BoundObject | None
    audiences: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    id: str


class Objects(Protocol):
    """What authentication asks of the mirror: which objects live. None where one doesn't (any more)."""

    def tenant_uid(self, tenant: str) -> str | None: ...

    def service_account_uid(self, tenant: str, namespace: str, name: str) -> str | None: ...

    def pod_uid(self, tenant: str, namespace: str, name: str) -> str | None: ...


def issuer(tenant: str) -> str:
    return f"{ISSUER_BASE}/tenants/{tenant}"


def key_id(key: ECKey) -> str:
    """The name of a key in a token's header: a hash of its public half (RFC 7638)."""
    return key.thumbprint()


def grant(
    spec: TokenRequestSpec, *, tenant: str, tenant_uid: str, namespace: str, account: BoundObject,
    objects: Objects, now: datetime,
) -> ServiceAccountToken:  # fmt: skip
    """What the token that a TokenRequest asks for will say. Raises StatusError."""
    causes = []
    if any(not audience for audience in spec.audiences):
        causes.append(cause("FieldValueInvalid", "spec.audiences", "must not contain an empty audience"))
    longest = MAX_LIFETIME.total_seconds()
    asked = spec.expiration_seconds
    lifetime = DEFAULT_LIFETIME if asked is None else timedelta(seconds=max(0, min(asked, longest)))
    if lifetime < MIN_LIFETIME:
        causes.append(
            cause("FieldValueInvalid", "spec.expirationSeconds", "may not specify a duration less than 10 minutes")
        )
    pod: BoundObject | None = None
    reference = spec.bound_object_ref
    if reference is not None:
        if (reference.kind_, reference.api_version_) != ("Pod", "v1") or not reference.name:
            message = "must name a Pod of v1; nothing else can be bound to"
            causes.append(cause("FieldValueInvalid", "spec.boundObjectRef", message))
        else:
            pod = BoundObject(reference.name, reference.uid or "")
    if causes:
        raise invalid("authentication.k8s.io", "TokenRequest", account.name, causes)
    if pod is not None:
        pod = _living_pod(pod, objects.pod_uid(tenant, namespace, pod.name))
    return ServiceAccountToken(
        tenant=tenant,
        tenant_uid=tenant_uid,
        namespace=namespace,
        account=account,
        pod=pod,
        audiences=tuple(spec.audiences) or (API_AUDIENCE,),
        issued_at=now.replace(microsecond=0),
        expires_at=now.replace(microsecond=0) + lifetime,
        id=str(uuid.uuid4()),
    )


def _living_pod(asked: BoundObject, uid: str | None) -> BoundObject:
    if uid is None:
        raise StatusError("NotFound", f'pods "{asked.name}" not found', details={"name": asked.name, "kind": "pods"})
    if asked.uid and asked.uid != uid:
        message = f"the UID in the bound object reference ({asked.uid}) does not match the UID in record ({uid})"
        raise StatusError("Conflict", message, details={"name": asked.name, "kind": "pods"})
    return BoundObject(asked.name, uid)


def status(token: ServiceAccountToken, encoded: str) -> dict[str, Any]:
    """The status of the TokenRequest that is answered."""
    return {"token": encoded, "expirationTimestamp": times.format_time(token.expires_at)}


def sign(token: ServiceAccountToken, key: ECKey) -> str:
    bound: dict[str, Any] = {
        "namespace": token.namespace,
        "serviceaccount": {"name": token.account.name, "uid": token.account.uid},
    }
    if token.pod is not None:
        bound["pod"] = {"name": token.pod.name, "uid": token.pod.uid}
    claims = {
        "iss": issuer(token.tenant),
        "sub": service_account_name(token.namespace, token.account.name),
        "aud": list(token.audiences),
        "iat": int(token.issued_at.timestamp()),
        "nbf": int(token.issued_at.timestamp()),
        "exp": int(token.expires_at.timestamp()),
        "jti": token.id,
        _KUBERNETES_CLAIM: bound,
        _TENANT_CLAIM: {"tenant": {"name": token.tenant, "uid": token.tenant_uid}},
    }
    return jwt.encode({"alg": ALGORITHM, "kid": key_id(key)}, claims, key)


def claimed_tenant(encoded: str) -> str | None:
    """The tenant whose key must have signed it, by its issuer; None for what is no token of ours.

    Nothing is verified yet: use it to find the key only.
    """
    if len(encoded) > MAX_TOKEN_BYTES:
        return None
    try:
        claims = orjson.loads(urlsafe_b64decode(encoded.split(".")[1].encode("ascii")))
        found = claims["iss"]
    except (ValueError, IndexError, KeyError, TypeError):
        return None
    base, separator, tenant = found.rpartition("/tenants/") if isinstance(found, str) else ("", "", "")
    return tenant if separator and base == ISSUER_BASE and is_dns_label(tenant) else None


def verify(encoded: str, key: ECKey, tenant: str) -> ServiceAccountToken:
    """The token's content, after its signature and issuer. Raises TokenError."""
    try:
        claims = jwt.decode(encoded, key, algorithms=[ALGORITHM]).claims
    except (JoseError, ValueError) as error:
        raise TokenError(f"the signature is not of tenant {tenant}: {error}") from error
    try:
        token = _read(claims)
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        raise TokenError(f"a claim is missing or malformed: {error!r}") from error
    if token.tenant != tenant or claims["iss"] != issuer(tenant):
        raise TokenError(f"the token is not of tenant {tenant}")
    return token


def _read(claims: Mapping[str, Any]) -> ServiceAccountToken:
    bound = claims[_KUBERNETES_CLAIM]
    tenant = claims[_TENANT_CLAIM]["tenant"]
    account, pod = bound["serviceaccount"], bound.get("pod")
    return ServiceAccountToken(
        tenant=str(tenant["name"]),
        tenant_uid=str(tenant["uid"]),
        namespace=str(bound["namespace"]),
        account=BoundObject(str(account["name"]), str(account["uid"])),
        pod=pod and BoundObject(str(pod["name"]), str(pod["uid"])),
        audiences=tuple(map(str, claims["aud"])),
        issued_at=datetime.fromtimestamp(claims["nbf"], UTC),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        id=str(claims["jti"]),
    )


def user_of(token: ServiceAccountToken, objects: Objects, now: datetime, audience: str = API_AUDIENCE) -> User:
    """The service account as a user, if all that the token is bound to lives. Raises TokenError."""
    if not token.issued_at - CLOCK_SKEW <= now < token.expires_at:
        raise TokenError("the token has expired, or isn't valid yet")
    if audience not in token.audiences:
        raise TokenError(f"the token is meant for {', '.join(token.audiences)}")
    if objects.tenant_uid(token.tenant) != token.tenant_uid:
        raise TokenError("the tenant is gone")
    if objects.service_account_uid(token.tenant, token.namespace, token.account.name) != token.account.uid:
        raise TokenError("the service account is gone")
    extra = {"authentication.kubernetes.io/credential-id": (f"JTI={token.id}",)}
    if token.pod is not None:
        if objects.pod_uid(token.tenant, token.namespace, token.pod.name) != token.pod.uid:
            raise TokenError("the pod is gone")
        extra["authentication.kubernetes.io/pod-name"] = (token.pod.name,)
        extra["authentication.kubernetes.io/pod-uid"] = (token.pod.uid,)
    groups = (SERVICE_ACCOUNTS_GROUP, f"{SERVICE_ACCOUNTS_GROUP}:{token.namespace}")
    name = service_account_name(token.namespace, token.account.name)
    return User(name, with_authenticated(groups), token.tenant, token.tenant_uid, extra)


def fingerprint(encoded: str) -> bytes:
    """What a cache knows a token by, so that memory holds no token."""
    return hashlib.sha256(encoded.encode()).digest()
