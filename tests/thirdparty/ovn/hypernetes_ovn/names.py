"""What things are called in OVN, where names are unique, and unreadable ones collide with nobody's."""

import hashlib

from hypernetes.providers.network.base import NetworkSpec


def digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:20]


def mac(*parts: str) -> str:
    octets = hashlib.sha256("/".join(parts).encode()).digest()[:5]
    return ":".join(["0a", *(f"{octet:02x}" for octet in octets)])


def switch(cluster: str, network: NetworkSpec) -> str:
    return f"hn-{cluster}-{network.uid}"


def router(cluster: str, network: NetworkSpec) -> str:
    return f"hn-{cluster}-{network.tenant_uid}"


def gateway(cluster: str, network: NetworkSpec, subnet: str) -> str:
    """Of the router's port in a subnet; its peer on the switch is called so, too, with `-peer`."""
    return f"{switch(cluster, network)}-{subnet}"


def port(cluster: str, pod: str) -> str:
    return f"hn-{cluster}-{pod}"


def group(cluster: str, network: NetworkSpec, key: str) -> str:
    """Fit for a match of an access control list."""
    return f"hn_{digest(cluster, network.tenant_uid, key)}"


def tap(cluster: str, pod: str) -> str:
    return f"ovn{digest(cluster, pod)[:12]}"
