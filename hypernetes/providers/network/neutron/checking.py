"""What a cloud lacks for the provider to work, each with its fix: asks only, and changes nothing. Blocking."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hypernetes.providers import clouds
from hypernetes.providers.check import Finding
from hypernetes.providers.network.base import NetworkError
from hypernetes.providers.network.neutron import api
from hypernetes.providers.network.neutron.configuration import Configuration

if TYPE_CHECKING:
    from keystoneauth1.access import AccessInfo

_EXTENSIONS = {
    "agent": "agents of hosts are asked for where a port can't be bound",
    "binding": "ports are bound to hosts",
    "port-security": "pods can't be kept from lying about their address",
    "router": "networks lead nowhere (service_plugins: router or ovn-router)",
    "security-group": "there are no NetworkPolicies",
    "standard-attr-tag": "nothing can be told from others' (service plugin tag)",
}
_OPTIONAL_SERVICES = {"load-balancer": "Services of type LoadBalancer", "block-storage": "volumes"}
# What a tenant needs at least: one network with a subnet and a router, an open group, and some pods.
_NEEDED = {"network": 1, "subnet": 1, "router": 1, "port": 10, "security_group": 2, "security_group_rule": 20}


def findings(configuration: Configuration, project: str | None) -> Iterator[Finding]:
    """All, good ones too; ends early where nothing more can be asked. `project` is a tenant's id."""
    from keystoneauth1.exceptions import ClientException

    try:
        region = clouds.region(configuration.cloud, configuration.clouds)
        session = region.get_session()
        auth: Any = session.auth
        access: AccessInfo = auth.get_access(session)
    except clouds.UnknownCloud as error:
        yield Finding("cloud", False, f"{error}; name one in the provider's file (cloud, clouds)")
        return
    except ClientException as error:
        yield Finding("credential", False, f"Keystone refuses it: {str(error)[:200]}; correct clouds.yaml")
        return
    yield Finding("credential", True, f"{access.username} in the project {access.project_name}")
    yield _roles(access.role_names or [])
    found = (
        {entry.get("type", "") for entry in access.service_catalog.catalog} if access.has_service_catalog() else set()
    )
    yield from services(found)
    if "network" not in found:
        return
    neutron = api.connected(region)
    try:
        yield from extensions(neutron.extensions())
        yield from agents(neutron.listed("agents"), configuration.hosts)
        if configuration.external_network:
            yield _external(neutron, configuration.external_network)
        if project:
            yield from quotas(neutron.quota(project))
    except NetworkError as error:
        yield Finding("neutron", False, error.message)


def _roles(names: list[str]) -> Finding:
    text, good = f"has {', '.join(sorted(names)) or 'no role'}", "admin" in names
    fix = "openstack role add --user USER --project PROJECT admin, or policies of Neutron's as in docs/providers.md"
    return Finding("roles", good, text if good else f"{text}: {fix}")


def services(catalogue: set[str]) -> Iterator[Finding]:
    there = "network" in catalogue
    fix = "not in the catalogue: openstack service create network; openstack endpoint create network …"
    yield Finding("service network", there, "in the catalogue" if there else fix)
    for kind, use in sorted(_OPTIONAL_SERVICES.items()):
        names = {kind, "volumev3"} if kind == "block-storage" else {kind}
        text = "in the catalogue" if names & catalogue else f"not in the catalogue: without it no {use} by OpenStack"
        yield Finding(f"service {kind}", True, text)


def extensions(there: frozenset[str]) -> Iterator[Finding]:
    for alias, without in sorted(_EXTENSIONS.items()):
        good = alias in there
        yield Finding(f"extension {alias}", good, "loaded" if good else f"missing in Neutron: {without}")


def agents(there: list[dict[str, Any]], hosts: Mapping[str, str]) -> Iterator[Finding]:
    """Of hosts that ports are bound to; all that the configuration names must have a live one."""
    wiring = [each for each in there if "controller" in each["binary"] or "openvswitch-agent" in each["binary"]]
    alive = {each["host"] for each in wiring if each["alive"]}
    known = {each["host"] for each in wiring}
    for host in sorted(known | {*hosts.values()}):
        if host in alive:
            yield Finding(f"host {host}", True, "has a live agent")
        elif host in known:
            yield Finding(f"host {host}", False, "its agent is dead: start ovn-controller, or the OVS agent, there")
        else:
            yield Finding(f"host {host}", False, "Neutron has no agent there: correct `hosts`, or start one")
    if not known:
        yield Finding("hosts", False, "no host has an agent that wires ports: start ovn-controller on the nodes")


def _external(neutron: api.Neutron, named: str) -> Finding:
    there = neutron.listed("networks", **{"router:external": "true"})
    found = [each for each in there if named in (each["id"], each["name"])]
    text = f"{named}" if len(found) == 1 else f"there are {len(found)} external networks {named!r}: name one, or its id"
    return Finding("external network", len(found) == 1, text)


def quotas(details: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    """Of a tenant's project, as Neutron gives them: limit (-1: none), used, reserved."""
    for kind, needed in sorted(_NEEDED.items()):
        quota = details.get(kind)
        if quota is None:
            continue
        left = quota["limit"] - quota["used"] - quota.get("reserved", 0)
        good = quota["limit"] < 0 or left >= needed
        text = "no limit" if quota["limit"] < 0 else f"{quota['used']} of {quota['limit']} used"
        option = kind.replace("_", "-").replace("security-group", "secgroup").removesuffix("s") + "s"
        yield Finding(f"quota {kind}", good, text if good else f"{text}: openstack quota set --{option} N PROJECT")
