"""What tells our things in Neutron from others': tags. Names are for people, and may collide."""

from collections.abc import Mapping
from typing import Any

OURS = "hypernetes"
PORT_OWNER = "compute:hypernetes"  # tenants can't delete ports of `compute:…`


def cluster(cluster_id: str) -> str:
    return f"{OURS}-cluster={cluster_id}"


def network(uid: str) -> str:
    return f"{OURS}-network={uid}"


def tenant(uid: str) -> str:
    """A tenant's router."""
    return f"{OURS}-tenant={uid}"


def group(key: str) -> str:
    return f"{OURS}-group={key}"


def is_port(port: Mapping[str, Any], cluster_id: str) -> bool:
    """Whether a port is a pod's; one that a crash left without tags, too."""
    marked = cluster(cluster_id) in (*port["tags"], *port["description"].split())
    return port["device_owner"] == PORT_OWNER and marked


def all_of(cluster_id: str, *more: str) -> list[str]:
    return [OURS, cluster(cluster_id), *more]
