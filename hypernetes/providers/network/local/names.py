"""What the local provider calls things on a machine.

Names carry the cluster's id where the whole machine sees them, so that clusters live side by side. Inside a router
namespace only the tenant's own things are, so names there need no cluster id. Everything is derived from UIDs: whoever
comes after a crash finds what was made, without a file that says so.
"""

import hashlib
import re

UPLINK = "uplink"  # the router's end of its uplink
TAP_PREFIX = "tap"
BRIDGE_PREFIX = "br"
TUNNEL_PREFIX = "vx"

_CLUSTER_ID = re.compile(r"[a-z0-9]{6}\Z")  # of one length, so that no id is the beginning of another
_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_UPLINK_DIGITS = 5  # 32**5 > the number of uplinks there can be


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def check_cluster_id(cluster_id: str) -> str:
    """Returns the id. Raises ValueError where it could not be part of a link's name."""
    if not _CLUSTER_ID.match(cluster_id):
        raise ValueError(f"cluster id {cluster_id!r} must be six of a-z, 0-9")
    return cluster_id


def router(cluster_id: str, tenant_uid: str, node_namespace: str = "") -> str:
    """The network namespace of a tenant's router. Nodes share it on a machine, unless they have a namespace each."""
    return f"{router_prefix(cluster_id)}{_digest(f'{tenant_uid}{node_namespace}', 12)}"


def router_prefix(cluster_id: str) -> str:
    return f"hn-{cluster_id}-"


def uplink(cluster_id: str, number: int) -> str:
    """The host's end of uplink `number` (`addressing.Uplink`)."""
    digits = ""
    for _ in range(_UPLINK_DIGITS):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return f"hn{cluster_id}u{digits}"


def uplinks(cluster_id: str) -> str:
    """All uplinks of the cluster, as an nftables wildcard."""
    return f"hn{cluster_id}u*"


def table(cluster_id: str) -> str:
    """The cluster's nftables table on the host."""
    return f"{TABLE_PREFIX}{cluster_id}"


TABLE_PREFIX = "hn_"


def bridge(network_uid: str) -> str:
    """A network's bridge in its tenant's router."""
    return f"{BRIDGE_PREFIX}{_digest(network_uid, 12)}"


def tunnel(network_uid: str) -> str:
    """A network's tunnel to other nodes, a link of its bridge."""
    return f"{TUNNEL_PREFIX}{_digest(network_uid, 12)}"


def gateway_mac(network_uid: str) -> str:
    """The gateway's MAC: of the network, not of the node, so that a pod that moves keeps its neighbour entry."""
    octets = bytes.fromhex(_digest(f"gateway {network_uid}", 10))
    return ":".join(f"{octet:02x}" for octet in (0x02, *octets))


def tap(port_id: str) -> str:
    """A port's tap in its tenant's router; also the name of its chain."""
    return f"{TAP_PREFIX}{_digest(port_id, 12)}"


def owner(node_name: str, port_id: str) -> str:
    """A tap's alias: which node's agent made it, and for which port (several nodes can share one machine)."""
    return f"{node_name}/{port_id}"


def owned_port(node_name: str, alias: str | None) -> str | None:
    """The port id in a tap's alias where the tap is this node's."""
    node, _, port_id = (alias or "").rpartition("/")
    return port_id if port_id and node == node_name else None
