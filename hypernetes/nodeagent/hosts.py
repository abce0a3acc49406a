"""The files that a pod's containers get from the node: /etc/hosts, /etc/hostname, /etc/resolv.conf."""

from dataclasses import dataclass

from hypernetes.api.models.core_v1 import Pod
from hypernetes.api.tenancy import CLUSTER_DOMAIN

MAX_HOSTNAME = 63
_NDOTS = 5


@dataclass(frozen=True, slots=True)
class NodeResolver:
    """The node's own resolv.conf, for pods with dnsPolicy Default."""

    nameservers: tuple[str, ...]
    searches: tuple[str, ...]


def hostname(pod: Pod) -> str:
    """RFC 1123's 63 characters at most, cut without a dash or dot at the end."""
    name = pod.spec.hostname or pod.metadata.name or ""
    return name[:MAX_HOSTNAME].rstrip("-.")


def machine_name(pod: Pod) -> str:
    """What the machine calls itself (KEP-4762, KEP-1797)."""
    if pod.spec.hostname_override:
        return pod.spec.hostname_override
    full = full_name(pod)
    return full if pod.spec.set_hostname_as_fqdn and full is not None else hostname(pod)


def full_name(pod: Pod) -> str | None:
    """The pod's name in the cluster's DNS, where it has one (spec.subdomain)."""
    if not pod.spec.subdomain:
        return None
    return f"{hostname(pod)}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{CLUSTER_DOMAIN}"


def files(pod: Pod, pod_ip: str, dns_address: str, node: NodeResolver) -> dict[str, bytes]:
    """Content by absolute path."""
    return {
        "/etc/hosts": hosts(pod, pod_ip).encode(),
        "/etc/hostname": f"{machine_name(pod)}\n".encode(),
        "/etc/resolv.conf": resolv_conf(pod, dns_address, node).encode(),
    }


def hosts(pod: Pod, pod_ip: str) -> str:
    lines = [
        "# Managed by Hypernetes.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
    ]
    full = full_name(pod)
    names = f"{full}\t{hostname(pod)}" if full else hostname(pod)
    if pod_ip:
        lines.append(f"{pod_ip}\t{names}")
    for alias in pod.spec.host_aliases:
        lines.append("\t".join([alias.ip, *alias.hostnames]))
    return "\n".join(lines) + "\n"


def resolv_conf(pod: Pod, dns_address: str, node: NodeResolver) -> str:
    """A pod's questions all end at hn-agent, so its name server is the cluster's under `Default` too."""
    namespace = pod.metadata.namespace
    policy = pod.spec.dns_policy or "ClusterFirst"
    searches: list[str] = []
    options: dict[str, str | None] = {}
    nameservers: list[str] = []
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        nameservers = [dns_address]
        searches = [f"{namespace}.svc.{CLUSTER_DOMAIN}", f"svc.{CLUSTER_DOMAIN}", CLUSTER_DOMAIN, *node.searches]
        options = {"ndots": str(_NDOTS)}
    elif policy == "Default":
        nameservers, searches = [dns_address], list(node.searches)
    if config := pod.spec.dns_config:
        nameservers += [each for each in config.nameservers if each not in nameservers]
        searches += [each for each in config.searches if each not in searches]
        options |= {option.name: option.value for option in config.options if option.name}
    lines = [f"nameserver {address}" for address in nameservers]
    if searches:
        lines.insert(0, "search " + " ".join(searches))
    if options:
        lines.append("options " + " ".join(f"{k}:{v}" if v is not None else k for k, v in options.items()))
    return "\n".join(lines) + "\n"
