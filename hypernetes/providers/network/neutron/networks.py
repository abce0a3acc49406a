"""Networks, their subnets and their tenant's router. Blocking; every function may be repeated after a crash."""

from dataclasses import dataclass

from hypernetes.providers.network import subnets
from hypernetes.providers.network.base import EnsuredNetwork, NetworkError, NetworkSpec, Subnet
from hypernetes.providers.network.neutron import tags
from hypernetes.providers.network.neutron.api import Neutron, NeutronError
from hypernetes.providers.rest import Object

_INTERFACES = (
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
)


@dataclass(frozen=True, slots=True)
class Place:
    """A network as ports need it."""

    id: str
    mtu: int
    subnets: dict[str, str]  # ids by CIDR


def project(network: NetworkSpec) -> str:
    """Raises NetworkError for a tenant that has none."""
    if not network.project:
        message = f"the tenant {network.tenant} is no project of Keystone's; set its spec.identity.keystone.projectID"
        raise NetworkError("NoProject", message)
    return network.project


def ensure(neutron: Neutron, cluster_id: str, network: NetworkSpec, external: str) -> EnsuredNetwork:
    """Raises NetworkError."""
    if network.provider_network_id is not None:
        found = _adopted(neutron, network)
        return EnsuredNetwork(provider_network_id=found["id"], subnets=_described(neutron, found["id"]))
    gateways = subnets.gateways(network)
    owner = project(network)
    made = _own(neutron, cluster_id, network) or neutron.create(
        "networks", tags.all_of(cluster_id, tags.network(network.uid)), project_id=owner,
        name=f"hypernetes-{network.name}",
    )  # fmt: skip
    there = {each["cidr"]: each["id"] for each in neutron.listed("subnets", network_id=made["id"])}
    for subnet, gateway in zip(network.subnets, gateways, strict=True):
        if subnet.cidr not in there:
            there[subnet.cidr] = neutron.create(
                "subnets", tags.all_of(cluster_id, tags.network(network.uid)), project_id=owner, network_id=made["id"],
                name=subnet.name, ip_version=4, cidr=subnet.cidr, gateway_ip=str(gateway.interface.ip),
                enable_dhcp=False,
            )["id"]  # fmt: skip
    _route(neutron, cluster_id, network, [there[subnet.cidr] for subnet in network.subnets], external)
    return EnsuredNetwork(provider_network_id=made["id"])


def delete(neutron: Neutron, cluster_id: str, network: NetworkSpec) -> None:
    """What `ensure` made, and the ports of pods in it. Raises NetworkError where others' ports are in it."""
    if network.provider_network_id is not None or not network.project:
        return
    router = _router(neutron, cluster_id, network)
    for made in neutron.made("networks", tags.all_of(cluster_id, tags.network(network.uid)), network.project):
        for port in neutron.listed("ports", network_id=made["id"]):
            if tags.is_port(port, cluster_id):
                neutron.delete("ports", port["id"])
            elif router and port["device_id"] == router["id"]:
                neutron.act(f"routers/{router['id']}/remove_router_interface", {"port_id": port["id"]})
        try:
            neutron.delete("networks", made["id"])
        except NeutronError as error:
            if error.status == 409:
                message = f"the network {made['id']} of Neutron has ports that are not the cluster's; remove them"
                raise NetworkError("NetworkInUse", message) from error
            raise
    if router and not _interfaces(neutron, router["id"]):
        neutron.delete("routers", router["id"])


def place(neutron: Neutron, cluster_id: str, network: NetworkSpec) -> Place:
    """Where its ports go. Raises NetworkError where it isn't there (yet)."""
    if network.provider_network_id is not None:
        found: Object | None = _adopted(neutron, network)
    else:
        found = _own(neutron, cluster_id, network)
    if found is None:
        raise NetworkError("NoSuchNetwork", f"the network {network.name} is not in Neutron; it is made again")
    there = {each["cidr"]: each["id"] for each in neutron.listed("subnets", network_id=found["id"])}
    return Place(found["id"], found.get("mtu") or 1500, there)


def _own(neutron: Neutron, cluster_id: str, network: NetworkSpec) -> Object | None:
    found = neutron.made("networks", tags.all_of(cluster_id, tags.network(network.uid)), project(network))
    return found[0] if found else None


def _adopted(neutron: Neutron, network: NetworkSpec) -> Object:
    """One that the project may use; another tenant's gets the same words as one that isn't there."""
    owner, wanted = project(network), network.provider_network_id or ""
    found = neutron.find("networks", wanted)
    if found is not None and (found["project_id"] == owner or found.get("shared") or _shared(neutron, wanted, owner)):
        return found
    raise NetworkError("NoSuchNetwork", f"the project {owner} has no network {wanted}; create or share one")


def _shared(neutron: Neutron, id: str, owner: str) -> bool:
    if "rbac-policies" not in neutron.extensions():
        return False
    policies = neutron.listed("rbac-policies", object_type="network", object_id=id, action="access_as_shared")
    return any(each["target_tenant"] in (owner, "*") for each in policies)


def _described(neutron: Neutron, id: str) -> tuple[Subnet, ...]:
    """Its subnets for pods. Raises NetworkError where it has none."""
    found = tuple(
        Subnet(
            each["id"], each["cidr"], each["gateway_ip"] or "",
            tuple((pool["start"], pool["end"]) for pool in each["allocation_pools"]),
        )
        for each in sorted(neutron.listed("subnets", network_id=id), key=lambda each: str(each["created_at"]))
        if each["ip_version"] == 4
    )  # fmt: skip
    if not found:
        raise NetworkError("InvalidSubnet", f"the network {id} has no IPv4 subnet; add one")
    return found


def _route(neutron: Neutron, cluster_id: str, network: NetworkSpec, wanted: list[str], external: str) -> None:
    """Joins subnets to the tenant's router, which is made with its first network."""
    router = _router(neutron, cluster_id, network)
    outside = _external(neutron, external) if external else None
    if router is None:
        gateway = {"external_gateway_info": {"network_id": outside}} if outside else {}
        router = neutron.create(
            "routers", tags.all_of(cluster_id, tags.tenant(network.tenant_uid)), project_id=project(network),
            name=f"hypernetes-{network.tenant}", **gateway,
        )  # fmt: skip
    elif outside and not router["external_gateway_info"]:
        neutron.update("routers", router["id"], external_gateway_info={"network_id": outside})
    for subnet in sorted({*wanted} - _interfaces(neutron, router["id"])):
        neutron.act(f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet})


def _router(neutron: Neutron, cluster_id: str, network: NetworkSpec) -> Object | None:
    found = neutron.made("routers", tags.all_of(cluster_id, tags.tenant(network.tenant_uid)), project(network))
    return found[0] if found else None


def _interfaces(neutron: Neutron, router: str) -> set[str]:
    """The subnets that a router is in."""
    ports = neutron.listed("ports", device_id=router)
    inside = (each for each in ports if each["device_owner"] in _INTERFACES)
    return {address["subnet_id"] for port in inside for address in port["fixed_ips"]}


def _external(neutron: Neutron, named: str) -> str:
    """Raises NetworkError."""
    found = [
        each["id"]
        for each in neutron.listed("networks", **{"router:external": "true"})
        if named in (each["id"], each["name"])
    ]
    if len(found) != 1:
        message = f"there are {len(found)} external networks {named!r}; name one (externalNetwork), or its id"
        raise NetworkError("NoExternalNetwork", message)
    return str(found[0])
