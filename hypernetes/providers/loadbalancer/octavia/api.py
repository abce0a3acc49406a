"""Octavia's API by openstacksdk's session: plain dictionaries, and every failure a LoadBalancerError. Blocking.

https://docs.openstack.org/api-ref/load-balancer/v2/
"""

import contextlib
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hypernetes.providers.loadbalancer.base import LoadBalancerError

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter
    from openstack.config.cloud_region import CloudRegion
    from requests import Response

Object = dict[str, Any]

ANSWER_SECONDS = 60.0
_SETTLE_SECONDS = 120.0  # an amphora is a machine that boots
_LOOK_SECONDS = 0.25


class OctaviaError(LoadBalancerError):
    """`status` is the answer's, 0 for none."""

    def __init__(self, reason: str, message: str, status: int = 0) -> None:
        super().__init__(reason, message)
        self.status = status


def connected(region: "CloudRegion") -> "Octavia":
    """The Octavia of a cloud. Asks nothing yet."""
    from keystoneauth1.adapter import Adapter

    session = region.get_session()
    session.timeout = ANSWER_SECONDS
    adapter = Adapter(
        session, service_type="load-balancer", interface=region.get_interface("load-balancer"),
        region_name=region.get_region_name("load-balancer"), connect_retries=0,
    )  # fmt: skip
    return Octavia(adapter)


class Octavia:
    """`kind` is a collection's path, such as `listeners` or `pools/ID/members`; `word` what one of it is called."""

    def __init__(self, adapter: "Adapter") -> None:
        self._adapter = adapter

    def listed(self, kind: str, **query: str) -> list[Object]:
        """Raises OctaviaError."""
        words = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        name = kind.rpartition("/")[2]
        found: list[Object] = self._ask("GET", f"{kind}?{words}")[name]
        return found

    def create(self, kind: str, word: str, **attributes: Any) -> Object:
        """Raises OctaviaError."""
        made: Object = self._ask("POST", kind, {word: attributes})[word]
        return made

    def put(self, path: str, body: Object) -> None:
        """Raises OctaviaError."""
        self._ask("PUT", path, body)

    def delete(self, path: str) -> None:
        """What is gone is no error. Raises OctaviaError."""
        try:
            self._ask("DELETE", path)
        except OctaviaError as error:
            if error.status != 404:
                raise

    def settled(self, id: str) -> Object | None:
        """A load balancer once nothing is pending in it, which Octavia wants before each change; None once it is gone.
        Raises OctaviaError."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            try:
                found: Object = self._ask("GET", f"loadbalancers/{id}")["loadbalancer"]
            except OctaviaError as error:
                if error.status == 404:
                    return None
                raise
            state = found["provisioning_status"]
            if state == "DELETED":
                return None
            if not state.startswith("PENDING"):
                return found
            if time.monotonic() > deadline:
                why = f"Octavia is at it ({state}) for over {_SETTLE_SECONDS:.0f} s; it is looked at again"
                raise OctaviaError("Pending", why)
            time.sleep(_LOOK_SECONDS)

    def _ask(self, method: str, path: str, body: Object | None = None) -> Object:
        from keystoneauth1.exceptions import ClientException

        what = f"{method} {path.partition('?')[0]}"
        try:
            answer = self._adapter.request(f"/v2.0/lbaas/{path}", method, json=body, raise_exc=False)
        except ClientException as error:
            raise OctaviaError("Unavailable", f"Octavia doesn't answer {what}: {str(error)[:200]}") from error
        if answer.status_code >= 400:
            raise _refusal(what, answer)
        if answer.status_code == 204 or not answer.content:
            return {}
        try:
            said = answer.json()
        except ValueError as error:
            raise OctaviaError("Unavailable", f"Octavia's answer to {what} is no JSON") from error
        if not isinstance(said, dict):
            raise OctaviaError("Unavailable", f"Octavia's answer to {what} is no object")
        return said


def _refusal(what: str, answer: "Response") -> OctaviaError:
    status, message = answer.status_code, answer.reason or ""
    with contextlib.suppress(ValueError, LookupError, TypeError):  # of a proxy's page
        message = str(answer.json()["faultstring"])
    if status >= 500 or status == 429:
        reason = "Unavailable"
    elif status in (401, 403):
        reason = "QuotaExceeded" if "quota" in message.lower() else "NotPermitted"
    else:
        reason = "Conflict" if status == 409 else "Refused"
    return OctaviaError(reason, f"Octavia refuses {what}: {status} {message[:500]}", status)
