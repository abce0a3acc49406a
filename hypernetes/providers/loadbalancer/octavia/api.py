"""Octavia's API: plain dictionaries, and every failure a LoadBalancerError. Blocking.

https://docs.openstack.org/api-ref/load-balancer/v2/
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hypernetes.providers import rest
from hypernetes.providers.loadbalancer.base import LoadBalancerError, Pending
from hypernetes.providers.rest import Object

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter
    from openstack.config.cloud_region import CloudRegion

_OVER_QUOTA = "OverQuota"  # our word: Octavia has none


class OctaviaError(LoadBalancerError):
    """`status` is the answer's, 0 for none."""

    def __init__(self, reason: str, message: str, kind: str = "", status: int = 0) -> None:
        super().__init__(reason, message)
        self.kind, self.status = kind, status


def _complaint(body: Any) -> tuple[str, str]:
    message = str(body["faultstring"])
    return _OVER_QUOTA if "quota" in message.lower() else "", message


_DIALECT = rest.Dialect("Octavia", OctaviaError, _complaint, {_OVER_QUOTA: "QuotaExceeded"})


def connected(region: "CloudRegion") -> "Octavia":
    """The Octavia of a cloud. Asks nothing yet."""
    return Octavia(rest.adapter(region, "load-balancer"))


class Octavia:
    """`kind` is a collection's path, such as `listeners` or `pools/ID/members`; `word` what one of it is called."""

    def __init__(self, adapter: "Adapter") -> None:
        self._service = rest.Service(adapter, _DIALECT)

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
        self._service.delete(_path(path))

    def settled(self, id: str) -> Object:
        """A load balancer in which nothing is pending, which Octavia wants before each change. Raises Pending where
        something is, and OctaviaError."""
        found: Object = self._ask("GET", f"loadbalancers/{id}")["loadbalancer"]
        return check_settled(found)

    def _ask(self, method: str, path: str, body: Object | None = None) -> Object:
        return self._service.ask(method, _path(path), body)


def check_settled(balancer: Object) -> Object:
    """Itself. Raises Pending."""
    if balancer["provisioning_status"].startswith("PENDING"):
        raise Pending(f"Octavia is at the load balancer {balancer['id']} ({balancer['provisioning_status']})")
    return balancer


def _path(path: str) -> str:
    return f"/v2.0/lbaas/{path}"
