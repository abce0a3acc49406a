"""Local users: the subresources that give them a password or a token, and the login.

POST users/jane/password   {"spec": {"password": …}}             ends all their tokens
POST users/jane/token      {"spec": {"expirationSeconds": …}}    -> status.token
POST /tenants/acme/login   {"spec": {"username": …, "password": …, "expirationSeconds": …}} -> status.token

The login is for whoever knows the password, without another credential. It takes as long, and says the same, for a
wrong password, a user who isn't there or may not, and a tenant that isn't there. With `newPassword` in its spec it
gives the user another password, which ends all their former tokens.
"""

import asyncio
import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

import orjson
import structlog
from aiohttp import web

from hypernetes.api import times
from hypernetes.api.status import StatusError, cause, invalid
from hypernetes.apiserver import codec
from hypernetes.apiserver.authn import passwords
from hypernetes.apiserver.authn.localusers import DEFAULT_LIFETIME, MAX_LIFETIME, MIN_LIFETIME
from hypernetes.apiserver.handlers import negotiation
from hypernetes.apiserver.handlers.context import Call, Parts
from hypernetes.apiserver.handlers.reading import find
from hypernetes.apiserver.storage.base import SideWrite

Object = dict[str, Any]

_GROUP = "hypernetes.io"
_MAX_BODY_BYTES = 16 * 1024
_BODY_SECONDS = 10.0
_LOGIN = re.compile(r"/tenants/([^/]+)/login/?\Z")

log = structlog.get_logger()


async def password(call: Call) -> web.StreamResponse:
    """Gives a user a password."""
    spec = _spec(await negotiation.read_body(call.http))
    uid = await _uid(call)
    chosen = spec.get("password")
    causes = password_causes(chosen)
    if causes or not isinstance(chosen, str):
        raise invalid(_GROUP, "UserPassword", call.route.name, causes)
    hashed = await call.parts.hasher.make(chosen)
    revision = await call.parts.local_users.set_password(call.one_tenant, call.route.name, uid, hashed)
    await call.parts.freshness.at_least(revision)
    return _answer("UserPassword", call.route.name, {}, {})


async def token(call: Call) -> web.StreamResponse:
    """A token for a user, without their password."""
    spec = _spec(await negotiation.read_body(call.http))
    lifetime = _lifetime(spec, "UserToken", call.route.name)
    uid = await _uid(call)
    made, ends, revision = await call.parts.local_users.issue(call.one_tenant, call.route.name, uid, lifetime)
    await call.parts.freshness.at_least(revision)
    return _granted("UserToken", call.route.name, made, ends, lifetime)


async def revoke(call: Call) -> web.StreamResponse:
    """DELETE of users/jane/token: ends all tokens of the user."""
    uid = await _uid(call)
    revision = await call.parts.local_users.revoke(call.one_tenant, call.route.name, uid)
    await call.parts.freshness.at_least(revision)
    return negotiation.answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})


def released(call: Call, obj: Object) -> list[SideWrite]:
    """What goes with a user that is removed."""
    if obj["kind"] != "User":
        return []
    return [SideWrite(call.parts.local_users.key(call.one_tenant, obj["metadata"]["name"]), None)]


def login_tenant(request: web.BaseRequest) -> str | None:
    """The tenant that a request would log in to; None for another POST."""
    found = _LOGIN.match(request.rel_url.raw_path)
    return None if found is None else unquote(found[1])


async def login(parts: Parts, request: web.BaseRequest, tenant: str) -> web.Response:
    """A token for a name and a password. Raises StatusError."""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            if (request.content_length or 0) > _MAX_BODY_BYTES:
                raise StatusError("RequestEntityTooLarge", f"limit is {_MAX_BODY_BYTES}")
            spec = _spec(await negotiation.read_body(request))
    except TimeoutError as error:
        raise StatusError("Timeout", "the body of the request did not come in time", code=408) from error
    name, given = spec.get("username"), spec.get("password")
    if not isinstance(name, str) or not isinstance(given, str):
        raise StatusError("BadRequest", "spec.username and spec.password must be given")
    lifetime = _lifetime(spec, "Login", "")
    chosen = spec.get("newPassword")
    if chosen is not None and (causes := password_causes(chosen, "spec.newPassword")):
        raise invalid(_GROUP, "Login", "", causes)
    address = str(request.remote or "")
    parts.attempts.check(tenant, name, address)
    await parts.freshness.now()
    known = parts.local_users.password_of(tenant, name) if len(name) <= 253 and "/" not in name else None
    wanted = passwords.NOBODYS if known is None else known[1]
    right = await parts.hasher.matches(given[: passwords.MAX_BYTES + 1], wanted)
    if known is None or not right:
        log.info("login refused", tenant=tenant[:64], user=name[:64], client=address)
        raise StatusError("Unauthorized", "Unauthorized")
    instead = None if chosen is None else await parts.hasher.make(chosen)
    made, ends, revision = await parts.local_users.issue(tenant, name, known[0], lifetime, wanted, instead=instead)
    parts.attempts.succeeded(tenant, name, address)
    log.info("login", tenant=tenant, user=name, client=address, new_password=chosen is not None)
    await parts.freshness.at_least(revision)
    return _granted("Login", name, made, ends, lifetime)


def password_causes(chosen: object, path: str = "spec.password") -> list[dict[str, str]]:
    """What is wrong with a password; never the password itself."""
    if not isinstance(chosen, str) or len(chosen) < passwords.MIN_CHARACTERS:
        return [cause("FieldValueInvalid", path, f"must have at least {passwords.MIN_CHARACTERS} characters")]
    if len(chosen.encode(errors="surrogatepass")) > passwords.MAX_BYTES:
        return [cause("FieldValueInvalid", path, f"must not be longer than {passwords.MAX_BYTES} bytes")]
    return []


async def _uid(call: Call) -> str:
    """Of the user that is asked about. Raises StatusError 404."""
    await call.parts.freshness.now()
    entry = find(call)
    uid: str = codec.decode(entry.data, entry.revision)["metadata"]["uid"]
    return uid


def _spec(body: bytes) -> Object:
    if len(body) > _MAX_BODY_BYTES:
        raise StatusError("RequestEntityTooLarge", f"limit is {_MAX_BODY_BYTES}")
    try:
        spec = orjson.loads(body)["spec"]
    except (ValueError, KeyError, TypeError) as error:
        raise StatusError("BadRequest", "the body must be an object with a spec") from error
    if not isinstance(spec, dict):
        raise StatusError("BadRequest", "the body must be an object with a spec")
    return spec


def _lifetime(spec: Object, kind: str, name: str) -> timedelta:
    seconds = spec.get("expirationSeconds")
    if seconds is None:
        return DEFAULT_LIFETIME
    low, high = int(MIN_LIFETIME.total_seconds()), int(MAX_LIFETIME.total_seconds())
    if isinstance(seconds, int) and not isinstance(seconds, bool) and low <= seconds <= high:
        return timedelta(seconds=seconds)
    why = cause("FieldValueInvalid", "spec.expirationSeconds", f"must be between {low} and {high}")
    raise invalid(_GROUP, kind, name, [why])


def _granted(kind: str, name: str, token: str, ends: datetime, lifetime: timedelta) -> web.Response:
    status = {"token": token, "expirationTimestamp": times.format_time(ends)}
    return _answer(kind, name, {"expirationSeconds": int(lifetime.total_seconds())}, status)


def _answer(kind: str, name: str, spec: Object, status: Object) -> web.Response:
    body = {"apiVersion": f"{_GROUP}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    if status:
        body["status"] = status
    return negotiation.answer(body, 201)
