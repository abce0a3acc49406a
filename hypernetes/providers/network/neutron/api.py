"""Neutron's API: plain dictionaries, and every failure a NetworkError. Blocking.

https://docs.openstack.org/api-ref/network/v2/
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hypernetes.providers import rest
from hypernetes.providers.network.base import NetworkError
from hypernetes.providers.rest import Object

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter
    from openstack.config.cloud_region import CloudRegion

# Neutron's words for it, by what callers know.
_REASONS = {
    "IpAddressAlreadyAllocated": "AddressInUse",
    "IpAddressInUse": "AddressInUse",
    "MacAddressInUse": "AddressInUse",
    "InvalidIpForNetwork": "InvalidPort",
    "InvalidIpForSubnet": "InvalidPort",
    "IpAddressGenerationFailure": "SubnetExhausted",
    "OverQuota": "QuotaExceeded",
    "ExternalIpAddressExhausted": "ExternalAddressesExhausted",
}
_FIXES = {
    "QuotaExceeded": "raise the project's quota (openstack quota set)",
    "ExternalAddressesExhausted": "the external network has no free address",
    "NotPermitted": "give the service credential the role that Neutron's policies ask for (hn openstack check)",
    "Unavailable": "it is tried again",
}


class NeutronError(NetworkError):
    """`kind` is Neutron's own word, such as `PortNotFound`; `status` the answer's, 0 for none."""

    def __init__(self, reason: str, message: str, kind: str = "", status: int = 0) -> None:
        fix = _FIXES.get(reason)
        super().__init__(reason, f"{message}; {fix}" if fix else message)
        self.kind, self.status = kind, status


def _complaint(body: Any) -> tuple[str, str]:
    said = body["NeutronError"]
    return said["type"], said["message"]


_DIALECT = rest.Dialect("Neutron", NeutronError, _complaint, _REASONS)


def connected(region: "CloudRegion") -> "Neutron":
    """The Neutron of a cloud. Asks nothing yet."""
    return Neutron(rest.adapter(region, "network", min_version="2", max_version="2.latest"))


class Neutron:
    """`kind` is a collection's name in its URL, such as `security-groups`."""

    def __init__(self, adapter: "Adapter") -> None:
        self._service = rest.Service(adapter, _DIALECT)
        self._ask = self._service.ask
        self._extensions: frozenset[str] | None = None

    def listed(self, kind: str, **query: str) -> list[Object]:
        """All that match. Pages of a server that has a limit are followed. Raises NeutronError."""
        words = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        path, found = f"/{kind}?{words}", []
        while path:
            answer = self._ask("GET", path)
            found += answer[_word(kind)]
            path = next((link["href"] for link in answer.get(f"{_word(kind)}_links", ()) if link["rel"] == "next"), "")
        return found

    def find(self, kind: str, id: str) -> Object | None:
        """By its id. Raises NeutronError."""
        try:
            found: Object = self._ask("GET", f"/{kind}/{quote(id, safe='')}")[_word(kind, one=True)]
        except NeutronError as error:
            if error.status == 404:
                return None
            raise
        return found

    def made(self, kind: str, tags: Sequence[str], project: str, **query: str) -> list[Object]:
        """What `create` made with these tags, the oldest first. Raises NeutronError."""
        found = self.listed(kind, project_id=project, tags=",".join(tags), **query)
        if not found:  # a crash may have come before the tags
            found = self.listed(kind, project_id=project, description=_mark(tags), **query)
            for each in found:
                self._tag(kind, each, tags)
        return sorted(found, key=lambda each: (str(each.get("created_at")), each["id"]))

    def create(self, kind: str, tags: Sequence[str], **attributes: Any) -> Object:
        """Neutron takes tags of what is there only, so the description says the same from the start. Raises
        NeutronError."""
        body = {_word(kind, one=True): {**attributes, "description": _mark(tags)}}
        made: Object = self._ask("POST", f"/{kind}", body)[_word(kind, one=True)]
        self._tag(kind, made, tags)
        return made

    def _tag(self, kind: str, made: Object, tags: Sequence[str]) -> None:
        self._ask("PUT", f"/{kind}/{made['id']}/tags", {"tags": [*tags]})

    def create_all(self, kind: str, bodies: Sequence[Mapping[str, Any]]) -> None:
        """In one call, all or none. Raises NeutronError."""
        self._ask("POST", f"/{kind}", {_word(kind): [*bodies]})

    def update(self, kind: str, id: str, **attributes: Any) -> Object:
        """Raises NeutronError."""
        changed: Object = self._ask("PUT", f"/{kind}/{id}", {_word(kind, one=True): attributes})
        return changed[_word(kind, one=True)]  # type: ignore[no-any-return]

    def delete(self, kind: str, id: str) -> None:
        """One that is gone is no error. Raises NeutronError."""
        self._service.delete(f"/{kind}/{id}")

    def act(self, path: str, body: Object) -> None:
        """What is neither made nor changed, such as a router's interface. Raises NeutronError."""
        self._ask("PUT", f"/{path}", body)

    def quota(self, project: str) -> dict[str, dict[str, int]]:
        """By kind: limit, used, reserved. Raises NeutronError."""
        found: dict[str, dict[str, int]] = self._ask("GET", f"/quotas/{quote(project, safe='')}/details")["quota"]
        return found

    def extensions(self) -> frozenset[str]:
        """The aliases, asked for once. Raises NeutronError."""
        if self._extensions is None:
            self._extensions = frozenset(each["alias"] for each in self._ask("GET", "/extensions")["extensions"])
        return self._extensions


def _mark(tags: Sequence[str]) -> str:
    return " ".join(tags)


def _word(kind: str, *, one: bool = False) -> str:
    """A collection's name in JSON."""
    name = kind.replace("-", "_")
    if not one:
        return name
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")
