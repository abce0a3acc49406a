"""Tokens of service accounts: ES256 JWTs with an issuer and a key per tenant.

What a token is bound to (tenant, service account, and the pod, secret or node it was made for) is written into it with
UIDs, and is looked up again at each request: a token ends with whichever of them goes first. The claims are those of
KEP-1205, and `hypernetes.io` with the tenant's UID.
"""

import hashlib
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.util import urlsafe_b64decode

from hypernetes.api import times
from hypernetes.api.models.authentication_v1 import BoundObjectReference, TokenRequestSpec
from hypernetes.api.status import StatusError, cause, invalid
from hypernetes.api.tenancy import CLUSTER_DOMAIN, is_dns_label
from hypernetes.apiserver.authn.users import User, service_account_groups, service_account_name, with_authenticated

ISSUER_BASE = f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}"
API_AUDIENCE = "https://kubernetes.default.svc"  # what a token is meant for that names nothing else
API_AUDIENCES = frozenset({API_AUDIENCE, ISSUER_BASE})  # any of them opens the API
ALGORITHM = "ES256"
DEFAULT_LIFETIME = timedelta(hours=1)
MIN_LIFETIME = timedelta(minutes=10)  # as upstream's
MAX_LIFETIME = timedelta(hours=48)  # longer asks are shortened, and the answer says so
_MOST_SECONDS = 1 << 32  # more isn't a lifetime; as upstream
_LASTING_LIFETIME = timedelta(days=3650)  # of what ends otherwise
CLOCK_SKEW = timedelta(seconds=10)  # between replicas of the API server
MAX_TOKEN_BYTES = 8192

_TENANT_CLAIM = "hypernetes.io"
_KUBERNETES_CLAIM = "kubernetes.io"
_EXTRA_PREFIX = "authentication.kubernetes.io/"


class TokenError(ValueError):
    """A token opens nothing; the message is for our log and never for the client."""


@dataclass(frozen=True, slots=True)
class BoundObject:
    name: str
    uid: str
    kind: str = ""  # of what a token is bound to beside its account: a key of _BINDABLE


# what else a token can be bound to: kind -> its claim
_BINDABLE = {"Pod": "pod", "Secret": "secret", "Node": "node"}


@dataclass(frozen=True, slots=True)
class ServiceAccountToken:
    """What a token says."""

    tenant: str
    tenant_uid: str
    namespace: str
    account: BoundObject
    bound: BoundObject | None
    audiences: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    id: str


class Objects(Protocol):
    """What authentication asks of the mirror: which objects live. None where one doesn't (any more)."""

    def tenant_uid(self, tenant: str) -> str | None: ...

    def service_account_uid(self, tenant: str, namespace: str, name: str) -> str | None: ...

    def pod_uid(self, tenant: str, namespace: str, name: str) -> str | None: ...

    def pod_account(self, tenant: str, namespace: str, name: str) -> str | None:
        """The name of the pod's service account."""

    def secret_uid(self, tenant: str, namespace: str, name: str) -> str | None: ...

    def node_uid(self, name: str) -> str | None: ...

    def secret_token(self, tenant: str, namespace: str, name: str) -> str:
        """The token that a Secret holds; "" where it holds none."""

    def bootstrap_secret(self, name: str) -> Mapping[str, Any] | None:
        """A Secret of the namespace of bootstrap tokens."""


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
    asked = DEFAULT_LIFETIME.total_seconds() if spec.expiration_seconds is None else spec.expiration_seconds
    if asked < MIN_LIFETIME.total_seconds():
        message = "may not specify a duration less than 10 minutes"
        causes.append(cause("FieldValueInvalid", "spec.expirationSeconds", message))
    elif asked > _MOST_SECONDS:
        message = "may not specify a duration larger than 2^32 seconds"
        causes.append(cause("FieldValueInvalid", "spec.expirationSeconds", message))
    if causes:
        raise invalid("authentication.k8s.io", "TokenRequest", "", causes)
    lifetime = timedelta(seconds=min(asked, MAX_LIFETIME.total_seconds()))
    bound = None
    if spec.bound_object_ref is not None:
        bound = _bound_object(spec.bound_object_ref, tenant, namespace, account, objects)
    return ServiceAccountToken(
        tenant=tenant,
        tenant_uid=tenant_uid,
        namespace=namespace,
        account=account,
        bound=bound,
        audiences=tuple(spec.audiences) or (API_AUDIENCE,),
        issued_at=now.replace(microsecond=0),
        expires_at=now.replace(microsecond=0) + lifetime,
        id=str(uuid.uuid4()),
    )


def _bound_object(
    reference: BoundObjectReference, tenant: str, namespace: str, account: BoundObject, objects: Objects
) -> BoundObject:
    """The living object that is referred to. Raises StatusError."""
    kind, name = reference.kind_ or "", reference.name or ""
    if kind not in _BINDABLE or reference.api_version_ != "v1":
        raise StatusError("BadRequest", f"cannot bind token for serviceaccount {account.name!r} to {kind!r} {name!r}")
    uid = _uid_of(kind, name, tenant, namespace, objects)
    if uid is None:
        plural = f"{kind.lower()}s"
        raise StatusError("NotFound", f'{plural} "{name}" not found', details={"name": name, "kind": plural})
    if kind == "Pod" and objects.pod_account(tenant, namespace, name) != account.name:
        message = f"cannot bind token for serviceaccount {account.name!r} to pod {name!r} of another account"
        raise StatusError("BadRequest", message)
    if reference.uid and reference.uid != uid:
        message = (
            f"the UID in the bound object reference ({reference.uid}) does not match the UID in record ({uid}); "
            "the object might have been deleted and then recreated"
        )
        raise StatusError("Conflict", message, details={"name": name, "kind": kind})
    return BoundObject(name, uid, kind)


def _uid_of(kind: str, name: str, tenant: str, namespace: str, objects: Objects) -> str | None:
    if kind == "Node":
        return objects.node_uid(name)
    find = objects.pod_uid if kind == "Pod" else objects.secret_uid
    return find(tenant, namespace, name)


def lasting(
    tenant: str, tenant_uid: str, namespace: str, account: BoundObject, secret: BoundObject, now: datetime
) -> ServiceAccountToken:
    """What the token of a Secret says, which counts for as long as the Secret holds it."""
    return ServiceAccountToken(
        tenant=tenant, tenant_uid=tenant_uid, namespace=namespace, account=account, bound=secret,
        audiences=(API_AUDIENCE,), issued_at=now.replace(microsecond=0),
        expires_at=now.replace(microsecond=0) + _LASTING_LIFETIME, id=str(uuid.uuid4()),
    )  # fmt: skip


def is_lasting(token: ServiceAccountToken) -> bool:
    return token.bound is not None and token.expires_at - token.issued_at > MAX_LIFETIME


def status(token: ServiceAccountToken, encoded: str) -> dict[str, Any]:
    """The status of the TokenRequest that is answered."""
    return {"token": encoded, "expirationTimestamp": times.format_time(token.expires_at)}


def sign(token: ServiceAccountToken, key: ECKey) -> str:
    bound: dict[str, Any] = {
        "namespace": token.namespace,
        "serviceaccount": {"name": token.account.name, "uid": token.account.uid},
    }
    if token.bound is not None:
        bound[_BINDABLE[token.bound.kind]] = {"name": token.bound.name, "uid": token.bound.uid}
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
    found = _claims(encoded).get("iss")
    base, separator, tenant = found.rpartition("/tenants/") if isinstance(found, str) else ("", "", "")
    return tenant if separator and base == ISSUER_BASE and is_dns_label(tenant) else None


def claimed_key(encoded: str) -> str:
    """The id of the key that a token says has signed it; "" for none. Nothing is verified."""
    return str(_part(encoded, 0).get("kid") or "")


def claimed_audiences(encoded: str) -> frozenset[str]:
    """The audiences that a token names. Nothing is verified: ask only about a token that is."""
    found = _claims(encoded).get("aud")
    return frozenset(map(str, found)) if isinstance(found, list) else frozenset()


def _claims(encoded: str) -> Mapping[str, Any]:
    return _part(encoded, 1)


def _part(encoded: str, number: int) -> Mapping[str, Any]:
    """Header (0) or claims (1) of a token, unverified; nothing for what is no token."""
    if len(encoded) > MAX_TOKEN_BYTES:
        return {}
    try:
        claims = orjson.loads(urlsafe_b64decode(encoded.split(".")[number].encode("ascii")))
    except (ValueError, IndexError, TypeError):
        return {}
    return claims if isinstance(claims, dict) else {}


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
    account = bound["serviceaccount"]
    others = [
        BoundObject(str(bound[claim]["name"]), str(bound[claim]["uid"]), kind)
        for kind, claim in _BINDABLE.items()
        if claim in bound
    ]
    return ServiceAccountToken(
        tenant=str(tenant["name"]),
        tenant_uid=str(tenant["uid"]),
        namespace=str(bound["namespace"]),
        account=BoundObject(str(account["name"]), str(account["uid"])),
        bound=others[0] if others else None,
        audiences=tuple(map(str, claims["aud"])),
        issued_at=datetime.fromtimestamp(claims["nbf"], UTC),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        id=str(claims["jti"]),
    )


def check_life(
    token: ServiceAccountToken, objects: Objects, now: datetime, audiences: Collection[str] = API_AUDIENCES
) -> None:
    """Raises TokenError unless all that the token is bound to lives, and it is meant for one of `audiences`."""
    if not token.issued_at - CLOCK_SKEW <= now < token.expires_at:
        raise TokenError("the token has expired, or isn't valid yet")
    if not any(audience in token.audiences for audience in audiences):
        raise TokenError(f"the token is meant for {', '.join(token.audiences)}")
    if objects.tenant_uid(token.tenant) != token.tenant_uid:
        raise TokenError("the tenant is gone")
    if objects.service_account_uid(token.tenant, token.namespace, token.account.name) != token.account.uid:
        raise TokenError("the service account is gone")
    bound = token.bound
    if bound is not None and _uid_of(bound.kind, bound.name, token.tenant, token.namespace, objects) != bound.uid:
        raise TokenError(f"the {bound.kind} is gone")


def user_of(token: ServiceAccountToken) -> User:
    """The service account as a user, while the token lives."""
    extra = {f"{_EXTRA_PREFIX}credential-id": (f"JTI={token.id}",)}
    bound = token.bound
    if bound is not None and bound.kind != "Secret":
        extra[f"{_EXTRA_PREFIX}{_BINDABLE[bound.kind]}-name"] = (bound.name,)
        extra[f"{_EXTRA_PREFIX}{_BINDABLE[bound.kind]}-uid"] = (bound.uid,)
    groups = with_authenticated(service_account_groups(token.namespace))
    name = service_account_name(token.namespace, token.account.name)
    return User(name, groups, token.tenant, token.tenant_uid, extra, token.account.uid)


def fingerprint(encoded: str) -> bytes:
    """What a cache knows a token by, so that memory holds no token."""
    return hashlib.sha256(encoded.encode()).digest()
