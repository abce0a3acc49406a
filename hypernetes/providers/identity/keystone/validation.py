"""Asks Keystone about a token, by keystonemiddleware: it is WSGI, so each question is a request of its own making.

It checks more than Keystone does: expiry by the own clock, and access rules of application credentials. Its cache is
off; hn-apiserver has one. Blocking: call it in a thread; it may be called in several.
"""

import base64
import binascii
import logging
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast
from wsgiref.util import setup_testing_defaults

import orjson

from hypernetes.providers.identity.base import ProviderUnavailable

if TYPE_CHECKING:
    from openstack.config.cloud_region import CloudRegion

Validate = Callable[[str], Any]

ANSWER_SECONDS = 4.0  # that Keystone has for each answer: less than what hn-apiserver waits
_TOKEN = re.compile(r"[A-Za-z0-9_.=-]{16,4096}\Z")  # Fernet, and the JWS that Keystone signs; more is no header
_MALFORMED = frozenset({400, 413, 414, 431})  # HTTP statuses that are about this token, and not about Keystone


def recognises(token: str) -> bool:
    """Whether it looks like a token of Keystone's. A JWT that names an issuer is somebody else's."""
    if _TOKEN.match(token) is None:
        return False
    parts = token.split(".")
    if len(parts) == 1:
        return True
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return False
    return len(parts) == 3 and isinstance(claims, dict) and "iss" not in claims


def validator(region: "CloudRegion") -> Validate:
    """A function that gives Keystone's description of a token, None for one that is worth nothing.

    It raises ProviderUnavailable.
    """
    # Here, since they are large: a server without Keystone doesn't have them in its memory.
    from keystonemiddleware.auth_token import AuthProtocol, InvalidToken
    from webob.exc import HTTPServiceUnavailable

    class Protocol(AuthProtocol):  # type: ignore[misc]  # it has no types
        def fetch_token(self, token: str, **more: Any) -> Any:
            try:
                return super().fetch_token(token, **more)
            except HTTPServiceUnavailable as error:  # it says why in the contexts only
                why = error.__context__ or error
                if getattr(why.__context__, "http_status", 0) in _MALFORMED:
                    raise InvalidToken from error  # else anybody could have Keystone taken for silent
                raise ProviderUnavailable(reason(why)) from error

    for library in ("keystoneauth", "keystoneclient", "keystonemiddleware"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)  # they tell each refused token; we tell outages
    protocol = Protocol(_accepted, _options(region))

    def validate(token: str) -> Any:
        environment: dict[str, Any] = {"HTTP_X_AUTH_TOKEN": token}
        setup_testing_defaults(environment)
        statuses: list[str] = []
        for _ in protocol(environment, lambda status, headers, info=None: statuses.append(status)):
            pass
        if statuses == [_ACCEPTED]:
            return environment["keystone.token_info"].get("token")
        if statuses and statuses[0].startswith("401 "):
            return None
        raise ProviderUnavailable(f"keystonemiddleware answers {statuses}")

    return validate


def reason(error: BaseException) -> str:
    """Why a question failed, for the log: it may quote what Keystone says, but no token."""
    return f"{type(error).__name__}: {str(error)[:200]}"


_ACCEPTED = "204 No Content"


def _accepted(environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response(_ACCEPTED, [])
    return []


def _options(region: "CloudRegion") -> dict[str, Any]:
    """Of keystonemiddleware's section `keystone_authtoken`, from what clouds.yaml says."""
    verify, certificate = region.get_requests_verify_args()
    certfile, keyfile = certificate if isinstance(certificate, tuple) else (certificate, None)
    options = {
        **region.get_auth_args(),
        "auth_type": region.config["auth_type"],
        "www_authenticate_uri": region.get_auth_args()["auth_url"],
        "interface": region.get_interface("identity"),
        "region_name": region.get_region_name("identity"),
        "cafile": verify if isinstance(verify, str) else None,
        "insecure": verify is False,
        "certfile": certfile,
        "keyfile": keyfile,
        "include_service_catalog": False,
        "token_cache_time": -1,
        "http_connect_timeout": int(ANSWER_SECONDS),
        "http_request_max_retries": 0,
    }
    return {name: value for name, value in options.items() if value not in (None, "")}


def refusals() -> tuple[type[Exception], ...]:
    """What OpenStack's libraries raise where Keystone doesn't answer, or not as it should."""
    from keystoneauth1.exceptions import ClientException
    from keystonemiddleware.auth_token import ConfigurationError, ServiceError

    return cast(tuple[type[Exception], ...], (ClientException, ServiceError, ConfigurationError))
