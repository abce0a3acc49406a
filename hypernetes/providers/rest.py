"""A service of OpenStack's by openstacksdk's session: plain dictionaries, and every failure the area's own error.

Blocking. Each call asks first whether this process may still act (`fencing`), and ends before a shard's drain does
(controllers/membership.py): so who takes a tenant over finds nothing under way.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hypernetes.providers import fencing

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter
    from openstack.config.cloud_region import CloudRegion
    from requests import Response

Object = dict[str, Any]

# Together shorter than a drain of 30 s: a token, where it has run out, and the call. A router's interface may take
# 20 s on a busy Neutron; what takes longer goes on there, and is found by the next attempt.
_TOKEN_SECONDS = 6.0
_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 20.0


class Failed(Protocol):
    """Makes the exception. `kind` is the service's own word for it, `status` the answer's, 0 for none."""

    def __call__(self, reason: str, message: str, kind: str = "", status: int = 0) -> Exception: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one service speaks: `complaint` gives kind and message of a refusal's body and may raise LookupError or
    TypeError for one that isn't; `reasons` are ours for kinds that callers know."""

    name: str
    failed: Failed
    complaint: Callable[[Any], tuple[str, str]]
    reasons: Mapping[str, str]


def adapter(region: "CloudRegion", service_type: str, **versions: Any) -> "Adapter":
    """Asks nothing yet."""
    from keystoneauth1.adapter import Adapter

    session = region.get_session()
    session.timeout = _TOKEN_SECONDS
    return Adapter(
        session, service_type=service_type, interface=region.get_interface(service_type),
        region_name=region.get_region_name(service_type), connect_retries=0, **versions,
    )  # fmt: skip


class Service:
    def __init__(self, adapter: "Adapter", dialect: Dialect) -> None:
        self._adapter, self._dialect = adapter, dialect

    def ask(self, method: str, path: str, body: Object | None = None) -> Object:
        """Raises what the dialect makes of a failure, and Fenced."""
        from keystoneauth1.exceptions import ClientException

        fencing.check()
        name, failed = self._dialect.name, self._dialect.failed
        what = f"{method} {path.partition('?')[0]}"
        try:
            answer = self._adapter.request(
                path, method, json=body, raise_exc=False, timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS)
            )
        except ClientException as error:
            raise failed("Unavailable", f"{name} doesn't answer {what}: {str(error)[:200]}") from error
        if answer.status_code >= 400:
            raise self._refusal(what, answer)
        if answer.status_code == 204 or not answer.content:
            return {}
        try:
            said = answer.json()
        except ValueError as error:
            raise failed("Unavailable", f"{name}'s answer to {what} is no JSON") from error
        if not isinstance(said, dict):
            raise failed("Unavailable", f"{name}'s answer to {what} is no object")
        return said

    def delete(self, path: str) -> None:
        """What is gone is no error."""
        try:
            self.ask("DELETE", path)
        except Exception as error:
            if getattr(error, "status", 0) != 404:
                raise

    def _refusal(self, what: str, answer: "Response") -> Exception:
        status, kind, message = answer.status_code, "", answer.reason or ""
        with contextlib.suppress(ValueError, LookupError, TypeError):  # of a proxy's page, or the service's middleware
            kind, message = self._dialect.complaint(answer.json())
        if status >= 500 or status == 429:
            reason = "Unavailable"
        elif kind in self._dialect.reasons:
            reason = self._dialect.reasons[kind]
        elif status in (401, 403):
            reason = "NotPermitted"
        else:
            reason = "Conflict" if status == 409 else "Refused"
        text = f"{self._dialect.name} refuses {what}: {status} {message[:500]}"
        return self._dialect.failed(reason, text, kind, status)
