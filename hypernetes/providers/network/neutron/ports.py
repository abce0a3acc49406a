"""Ports of pods. Blocking; every function may be repeated after a crash."""

from collections.abc import Mapping

from hypernetes.providers.network.base import NetworkError, PortSpec
from hypernetes.providers.network.neutron import tags
from hypernetes.providers.network.neutron.api import Neutron
from hypernetes.providers.network.neutron.networks import Place, project
from hypernetes.providers.rest import Object

OVS = "ovs"
_UNBOUND = ("binding_failed", "unbound")


def bind(neutron: Neutron, cluster_id: str, port: PortSpec, place: Place, host: str, group: str) -> dict[str, str]:
    """The pod's port on a host, as the node needs to know it. Raises NetworkError."""
    subnet = place.subnets.get(port.subnet.cidr)
    if subnet is None:
        raise NetworkError("NoSuchSubnet", f"the network {place.id} of Neutron has no subnet {port.subnet.cidr}")
    found = _of(neutron, cluster_id, port)
    bound = next((each for each in found if _fits(each, port, place, subnet, host)), None)
    for other in found:
        if other is not bound:
            neutron.delete("ports", other["id"])
    if bound is None:
        bound = neutron.create(
            "ports", tags.all_of(cluster_id), project_id=project(port.network), network_id=place.id,
            name=f"pod-{port.id}", device_id=port.id, device_owner=tags.PORT_OWNER, mac_address=port.mac_address,
            fixed_ips=[{"subnet_id": subnet, "ip_address": port.address}], security_groups=[group],
            **{"binding:host_id": host},
        )  # fmt: skip
    elif bound["security_groups"] != [group]:
        bound = neutron.update("ports", bound["id"], security_groups=[group])
    return _binding(neutron, bound, place, host)


def release(neutron: Neutron, cluster_id: str, port: PortSpec) -> None:
    if port.network.project:
        for each in _of(neutron, cluster_id, port):
            neutron.delete("ports", each["id"])


def all_of(neutron: Neutron, cluster_id: str) -> list[Object]:
    """Of all tenants."""
    ports = neutron.listed("ports", device_owner=tags.PORT_OWNER)
    return [each for each in ports if tags.is_port(each, cluster_id)]


def _of(neutron: Neutron, cluster_id: str, port: PortSpec) -> list[Object]:
    owner = {"device_id": port.id, "device_owner": tags.PORT_OWNER}
    return neutron.made("ports", tags.all_of(cluster_id), project(port.network), **owner)


def _fits(found: Object, port: PortSpec, place: Place, subnet: str, host: str) -> bool:
    return (
        found["network_id"] == place.id
        and found["mac_address"] == port.mac_address
        and found["fixed_ips"] == [{"subnet_id": subnet, "ip_address": port.address}]
        and found["binding:host_id"] == host
        and found["binding:vif_type"] not in _UNBOUND
    )


def _binding(neutron: Neutron, port: Object, place: Place, host: str) -> dict[str, str]:
    """Raises NetworkError for what no node can plug; the port goes, so that the next attempt binds anew."""
    kind, details = port["binding:vif_type"], port.get("binding:vif_details") or {}
    if kind != OVS:
        described = _agents(neutron, host)
        neutron.delete("ports", port["id"])
        if kind in _UNBOUND:
            message = f"Neutron could not bind a port to the host {host!r} ({kind}): {described}"
            raise NetworkError("BindingFailed", message)
        by = ", ".join((details.get("bound_drivers") or {}).values()) or "an unnamed mechanism"
        message = f"Neutron bound a port to the host {host!r} as {kind!r} (by {by}), which no node plugs; {described}"
        raise NetworkError("UnknownVIFType", message)
    return {
        "portID": port["id"], "vifType": kind, "mtu": str(place.mtu),
        "bridge": details.get("bridge_name") or "br-int", "datapath": details.get("datapath_type") or "system",
        "mechanism": ",".join((details.get("bound_drivers") or {}).values()),
    }  # fmt: skip


def _agents(neutron: Neutron, host: str) -> str:
    """Who should have bound a host's port."""
    found: list[Mapping[str, object]] = [*neutron.listed("agents", host=host)]
    if not found:
        return "no agent of Neutron's is known there; check that the host's name is Neutron's (option hosts)"
    said = (f"{each['agent_type']} ({each['binary']}) is {'alive' if each['alive'] else 'dead'}" for each in found)
    return f"there {', '.join(said)}"
