"""Load balancers: what one is to be, what it is, and the calls in between. Blocking.

One is found by the tags of its Service's UID in the tenant's project; what has others' tags, or none, is never touched.
Octavia takes no change while the one before is pending. Nothing here waits for that: `ensure` and `delete` go as far as
they can, raise Pending, and go on from what they find when they are called again.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hypernetes.providers.loadbalancer.base import Listener, LoadBalancerError, LoadBalancerSpec, Member, Pending
from hypernetes.providers.loadbalancer.octavia.api import Octavia, check_settled
from hypernetes.providers.network.neutron import tags
from hypernetes.providers.network.neutron.api import Neutron, NeutronError
from hypernetes.providers.rest import Object

# cloud-provider-openstack's annotations.
_DOMAIN = "loadbalancer.openstack.org"
_INTERNAL = "service.beta.kubernetes.io/openstack-internal-load-balancer"
_MONITOR = f"{_DOMAIN}/enable-health-monitor"
_KEEP_FLOATING = f"{_DOMAIN}/keep-floatingip"
_FLAVOR = f"{_DOMAIN}/flavor-id"
_ZONE = f"{_DOMAIN}/availability-zone"
_MONITOR_NUMBERS = {"delay": ("health-monitor-delay", 5), "timeout": ("health-monitor-timeout", 3),
                    "max_retries": ("health-monitor-max-retries", 1)}  # fmt: skip
_TIMEOUTS = ("timeout-client-data", "timeout-member-connect", "timeout-member-data", "timeout-tcp-inspect")  # ms
# What each of Octavia's providers can do for layer 4.
_ALGORITHMS = {"ovn": "SOURCE_IP_PORT"}
_ALGORITHM = "ROUND_ROBIN"
_NO_TIMEOUTS = frozenset({"ovn"})
_NOT_TO_HAVE = (400, 404, 409)  # Neutron's answers about an address
_SERVING = frozenset({"ONLINE", "DEGRADED", "DRAINING"})


@dataclass(frozen=True, slots=True)
class Options:
    """What a Service's annotations say. Times in seconds, but for `timeouts` (milliseconds)."""

    internal: bool = False
    monitor: Mapping[str, int] | None = None
    keep_floating: bool = False
    timeouts: tuple[tuple[str, int], ...] = ()
    flavor: str = ""
    zone: str = ""


def options(annotations: Mapping[str, str]) -> Options:
    """Raises LoadBalancerError for a value that can't be meant."""
    monitored = _flag(annotations, _MONITOR)
    numbers = {name: _number(annotations, key, default) for name, (key, default) in _MONITOR_NUMBERS.items()}
    timeouts = tuple((key.replace("-", "_"), value) for key in _TIMEOUTS if (value := _number(annotations, key, 0)))
    return Options(
        _flag(annotations, _INTERNAL), numbers if monitored else None, _flag(annotations, _KEEP_FLOATING), timeouts,
        annotations.get(_FLAVOR, ""), annotations.get(_ZONE, ""),
    )  # fmt: skip


def _flag(annotations: Mapping[str, str], key: str) -> bool:
    value = annotations.get(key, "false").lower()
    if value not in ("true", "false"):
        raise LoadBalancerError("InvalidAnnotation", f"{key} must be true or false, not {value!r}")
    return value == "true"


def _number(annotations: Mapping[str, str], key: str, default: int) -> int:
    value = annotations.get(f"{_DOMAIN}/{key}", str(default))
    if not value.isdecimal() or not value.isascii() or len(value) > 9:
        raise LoadBalancerError("InvalidAnnotation", f"{_DOMAIN}/{key} must be a number, not {value!r}")
    return int(value)


def marks(cluster_id: str, uid: str) -> list[str]:
    return tags.all_of(cluster_id, f"{tags.OURS}-service={uid}")


class Subnets:
    """Of the members' network: where each is, and where the load balancer's own address is from."""

    def __init__(self, described: Iterable[Object]) -> None:
        found = [each for each in described if each["ip_version"] == 4]
        self._ranges = [(ipaddress.ip_network(each["cidr"]), str(each["id"])) for each in found]
        if not found:
            raise LoadBalancerError("NoSubnet", "the network of the Service's pods has no IPv4 subnet in Neutron")

    def of(self, address: str) -> str:
        parsed = ipaddress.ip_address(address)
        return next((id for cidr, id in self._ranges if parsed in cidr), self._ranges[0][1])

    def first(self) -> str:
        return self._ranges[0][1]


def tree(
    wanted: LoadBalancerSpec, cluster_id: str, provider: str, said: Options, subnets: Subnets
) -> dict[str, Any]:  # fmt: skip
    """A whole load balancer, as one call makes it."""
    more = {"flavor_id": said.flavor} if said.flavor else {}
    more |= {"availability_zone": said.zone} if said.zone else {}
    return {
        "name": f"hypernetes_{wanted.name.replace('/', '_')}",
        "description": f"Service {wanted.name} of the tenant {wanted.tenant}",
        "project_id": wanted.project, "provider": provider, "vip_subnet_id": subnets.first(),
        "tags": marks(cluster_id, wanted.uid), **more,
        "listeners": [
            {**_listener(each, wanted, provider, said), "default_pool": _pool(each, provider, said, subnets)}
            for each in wanted.listeners
        ],
    }  # fmt: skip


def name_of(listener: Listener) -> str:
    return f"{listener.protocol.lower()}-{listener.port}"


def _listener(listener: Listener, wanted: LoadBalancerSpec, provider: str, said: Options) -> dict[str, Any]:
    timeouts = {} if provider in _NO_TIMEOUTS else dict(said.timeouts)
    allowed = {"allowed_cidrs": sorted(wanted.source_ranges)} if wanted.source_ranges else {}
    return {
        "name": name_of(listener), "protocol": listener.protocol, "protocol_port": listener.port, **allowed, **timeouts,
    }  # fmt: skip


def _pool(listener: Listener, provider: str, said: Options, subnets: Subnets) -> dict[str, Any]:
    monitor = {}
    if said.monitor is not None:
        kind = "UDP-CONNECT" if listener.protocol == "UDP" else listener.protocol
        monitor = {"healthmonitor": {"name": name_of(listener), "type": kind, **said.monitor}}
    return {
        "name": name_of(listener), "protocol": listener.protocol,
        "lb_algorithm": _ALGORITHMS.get(provider, _ALGORITHM), "members": members(listener, subnets), **monitor,
    }  # fmt: skip


def members(listener: Listener, subnets: Subnets) -> list[dict[str, Any]]:
    return [
        {"address": each.address, "protocol_port": each.port, "subnet_id": subnets.of(each.address)}
        for each in sorted(listener.members)
    ]


def ensure(
    octavia: Octavia, neutron: Neutron, cluster_id: str, provider: str, floating: str, wanted: LoadBalancerSpec
) -> str:
    """The address that clients use. Raises LoadBalancerError, NetworkError and Pending."""
    said = options(wanted.annotations)
    subnets = Subnets(neutron.listed("subnets", network_id=wanted.network_id))
    found = own(octavia, cluster_id, wanted.project, wanted.uid)
    if found:
        made = check_settled(found[0])
        if made["provisioning_status"] == "ERROR":
            raise _failed(octavia, made, wanted)
        _update(octavia, made["id"], made["provider"], wanted, said, subnets)
    else:
        whole = tree(wanted, cluster_id, provider, said, subnets)
        made = check_settled(octavia.create("loadbalancers", "loadbalancer", **whole))
    address = _address(neutron, cluster_id, floating, wanted, said, made)
    return str(made["vip_address"]) if wanted.inside else address


def _failed(octavia: Octavia, made: Object, wanted: LoadBalancerSpec) -> LoadBalancerError:
    """What to say of one in the state ERROR. It takes no change, but what it was told before it may well serve: one
    whose address clients know is left alone."""
    id = made["id"]
    if wanted.published or made["operating_status"] in _SERVING:
        text = f"the load balancer {id} is in the state ERROR and can't be changed; it is left as it may serve"
        return LoadBalancerError("InErrorState", f"{text}: openstack loadbalancer failover {id}, or delete it")
    octavia.delete(f"loadbalancers/{id}?cascade=true")
    return LoadBalancerError("Failed", f"Octavia could not make the load balancer {id}; another one is made")


def own(octavia: Octavia, cluster_id: str, project: str, uid: str) -> list[Object]:
    query = ",".join(marks(cluster_id, uid))
    return octavia.listed("loadbalancers", project_id=project, tags=query)


def _update(
    octavia: Octavia, id: str, provider: str, wanted: LoadBalancerSpec, said: Options, subnets: Subnets
) -> None:  # fmt: skip
    listeners = octavia.listed("listeners", loadbalancer_id=id)
    there = {(each["protocol"], each["protocol_port"]): each for each in listeners}
    asked = {(each.protocol, each.port): each for each in wanted.listeners}
    for key in there.keys() - asked.keys():
        if pool := there[key]["default_pool_id"]:
            octavia.delete(f"pools/{pool}")
            octavia.settled(id)
        octavia.delete(f"listeners/{there[key]['id']}")
        octavia.settled(id)
    for key, listener in asked.items():
        found = there.get(key)
        if found is None:
            body = _listener(listener, wanted, provider, said)
            found = octavia.create("listeners", "listener", loadbalancer_id=id, project_id=wanted.project, **body)
            octavia.settled(id)
        elif sorted(found.get("allowed_cidrs") or ()) != sorted(wanted.source_ranges):
            allowed = sorted(wanted.source_ranges) or None
            octavia.put(f"listeners/{found['id']}", {"listener": {"allowed_cidrs": allowed}})
            octavia.settled(id)
        if not found.get("default_pool_id"):
            pool = _pool(listener, provider, said, subnets)
            of_pool = {name: value for name, value in pool.items() if name not in ("members", "healthmonitor")}
            made = octavia.create("pools", "pool", listener_id=found["id"], project_id=wanted.project, **of_pool)
            octavia.settled(id)
            found = {**found, "default_pool_id": made["id"]}
            if "healthmonitor" in pool:
                octavia.create("healthmonitors", "healthmonitor", pool_id=made["id"], **pool["healthmonitor"])
                octavia.settled(id)
        _set_members(octavia, id, found["default_pool_id"], listener, subnets)


def _set_members(octavia: Octavia, id: str, pool: str, listener: Listener, subnets: Subnets) -> None:
    there = {Member(each["address"], each["protocol_port"]) for each in octavia.listed(f"pools/{pool}/members")}
    if there != listener.members:
        octavia.put(f"pools/{pool}/members", {"members": members(listener, subnets)})
        octavia.settled(id)


def _address(
    neutron: Neutron, cluster_id: str, network: str, wanted: LoadBalancerSpec, said: Options, made: Object
) -> str:  # fmt: skip
    """Its floating IP, made where one is to be and isn't; else its own address."""
    there = neutron.listed("floatingips", port_id=made["vip_port_id"])
    if there and wanted.address in ("", there[0]["floating_ip_address"]):
        return str(there[0]["floating_ip_address"])
    for other in there:  # than is asked for
        _let_go(neutron, cluster_id, wanted.uid, other)
    if wanted.inside and not network:
        raise LoadBalancerError("NoExternalNetwork", "no floatingNetwork is configured for external addresses")
    if said.internal or not network:
        return str(made["vip_address"])
    if wanted.address:
        free = neutron.listed("floatingips", project_id=wanted.project, floating_ip_address=wanted.address)
        if free:
            if free[0]["port_id"]:
                raise LoadBalancerError("AddressInUse", f"the floating IP {wanted.address} is in use elsewhere")
            neutron.update("floatingips", free[0]["id"], port_id=made["vip_port_id"])
            return wanted.address
    asked = {"floating_ip_address": wanted.address} if wanted.address else {}
    known_as = [tags.OURS, "hypernetes-kept"] if said.keep_floating else marks(cluster_id, wanted.uid)
    if not said.keep_floating:
        # Of a load balancer that was made anew: its address stays.
        for each in neutron.made("floatingips", known_as, wanted.project):
            if not each["port_id"] and wanted.address in ("", each["floating_ip_address"]):
                neutron.update("floatingips", each["id"], port_id=made["vip_port_id"])
                return str(each["floating_ip_address"])
    try:
        floating = neutron.create(
            "floatingips", known_as, project_id=wanted.project, port_id=made["vip_port_id"],
            floating_network_id=_external(neutron, network), **asked,
        )  # fmt: skip
    except NeutronError as error:
        if not asked or error.status not in _NOT_TO_HAVE or error.reason == "QuotaExceeded":
            raise
        # In the same words whether another tenant has it or nobody could.
        why = f"the address {wanted.address} is neither the project's nor free; ask for another, or for none"
        raise LoadBalancerError("AddressNotAvailable", why) from error
    return str(floating["floating_ip_address"])


def _let_go(neutron: Neutron, cluster_id: str, uid: str, floating: Object) -> None:
    if {*marks(cluster_id, uid)} <= {*floating["tags"]}:
        neutron.delete("floatingips", floating["id"])
    else:
        neutron.update("floatingips", floating["id"], port_id=None)


def _external(neutron: Neutron, named: str) -> str:
    there = neutron.listed("networks", **{"router:external": "true"})
    found = [each["id"] for each in there if named in (each["id"], each["name"])]
    if len(found) != 1:
        raise LoadBalancerError("NoExternalNetwork", f"there are {len(found)} external networks {named!r}; name one")
    return str(found[0])


def delete(octavia: Octavia, neutron: Neutron, cluster_id: str, project: str, uid: str) -> None:
    """A floating IP that was made for it goes, too; one that somebody gave, or that is to be kept, is let go of. Raises
    LoadBalancerError, NetworkError, and Pending until nothing is left."""
    there = own(octavia, cluster_id, project, uid)
    for each in there:
        octavia.delete(f"loadbalancers/{check_settled(each)['id']}?cascade=true")
    if there:
        raise Pending("Octavia removes the load balancer")
    for floating in neutron.made("floatingips", marks(cluster_id, uid), project):
        neutron.delete("floatingips", floating["id"])
