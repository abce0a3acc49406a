"""Which projects are tenants. Blocking: call it in a thread.

https://docs.openstack.org/api-ref/identity/v3/#list-projects
"""

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hypernetes.providers.identity.base import ExternalTenant, ProviderUnavailable
from hypernetes.providers.identity.keystone.configuration import Configuration

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter
    from openstack.config.cloud_region import CloudRegion

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_MOST_PAGES = 1_000
_ANSWER_SECONDS = 30.0  # a list of thousands takes its time


def adapter(region: "CloudRegion") -> "Adapter":
    """What asks the Keystone of a cloud."""
    from keystoneauth1.adapter import Adapter

    session = region.get_session()
    session.timeout = _ANSWER_SECONDS
    return Adapter(
        session, service_type="identity", interface=region.get_interface("identity"),
        region_name=region.get_region_name("identity"), min_version="3", max_version="3.latest", connect_retries=0,
    )  # fmt: skip


def listed(keystone: "Adapter", configuration: Configuration) -> list[ExternalTenant]:
    """All projects that are tenants. Raises ProviderUnavailable where the list isn't whole, and ClientException."""
    domains = {each["id"]: each for each in _pages(keystone, "/domains", "domains")}
    query = f"tags={quote(configuration.tag)}"
    if configuration.domain:
        query = f"domain_id={quote(_domain_id(domains, configuration.domain))}"
    return [tenant(each, domains.get(each["domain_id"])) for each in _pages(keystone, f"/projects?{query}", "projects")]


def found(keystone: "Adapter", id: str) -> ExternalTenant | None:
    """The project with this id, tenant or not; None where there is none any more. Raises ClientException."""
    from keystoneauth1.exceptions import NotFound

    if _ID.match(id) is None:
        return None
    try:
        project = keystone.get(f"/projects/{id}").json()["project"]
        return tenant(project, keystone.get(f"/domains/{quote(project['domain_id'], safe='')}").json()["domain"])
    except NotFound:
        return None


def tenant(project: dict[str, Any], domain: dict[str, Any] | None) -> ExternalTenant:
    """A project of a domain that is disabled is disabled, whatever it says."""
    return ExternalTenant(
        id=project["id"],
        name=project["name"],
        domain=project["domain_id"],
        enabled=project["enabled"] is True and domain is not None and domain["enabled"] is True,
        tags=frozenset(project.get("tags") or ()),
    )


def _domain_id(domains: dict[str, Any], wanted: str) -> str:
    """Of a domain's name or id. Raises ProviderUnavailable: without its domain a list would end all tenants."""
    ids = [id for id, each in domains.items() if wanted in (id, each["name"])]
    if len(ids) != 1:
        raise ProviderUnavailable(f"there is no domain {wanted!r}, or more than one")
    return ids[0]


def _pages(keystone: "Adapter", path: str, what: str) -> list[dict[str, Any]]:
    """All pages of a list. Raises ProviderUnavailable where one is cut short, and ClientException."""
    items: list[dict[str, Any]] = []
    for _ in range(_MOST_PAGES):
        page = keystone.get(path).json()
        items += page[what]
        if page.get("truncated"):
            raise ProviderUnavailable(f"Keystone's list_limit cuts {path} short")
        following = (page.get("links") or {}).get("next")
        if not following:
            return items
        path = following
    raise ProviderUnavailable(f"{path} has too many pages")
