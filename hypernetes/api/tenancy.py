"""What a tenant's name, address ranges, store keys and credentials look like.

A tenant is a logical cluster (docs/architecture.md, "Tenants"). The tenant `system` is the provider's own.
"""

import hashlib
import ipaddress
import re
import uuid
from dataclasses import dataclass

SYSTEM_TENANT = "system"
ALL_TENANTS = "*"  # in a path: across all tenants
TENANT_ANNOTATION = "hypernetes.io/tenant"  # added by the server on /tenants/*/ paths only
ADDRESS_ANNOTATION = "hypernetes.io/ip-address"  # on a Pod: the address it asks for in its network
DEFAULT_NETWORK = "default"
DEFAULT_SUBNET_CIDR = "10.0.0.0/24"
DEFAULT_SERVICE_CIDR = "10.254.0.0/16"
CLUSTER_DOMAIN = "cluster.local"
TENANT_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_SAN = re.compile(r"hypernetes://(?P<cluster>[a-z0-9-]+)/tenants/(?P<name>[a-z0-9-]+)/(?P<uid>[0-9a-f-]{36})\Z")


def is_dns_label(name: str) -> bool:
    """RFC 1123: what a tenant and a namespace may be called."""
    return _DNS_LABEL.match(name) is not None


def kubernetes_address(service_cidr: str) -> str:
    """The ClusterIP of the tenant's `kubernetes` service: the first address of its range."""
    return str(ipaddress.ip_network(service_cidr)[1])


def dns_address(service_cidr: str) -> str:
    """The cluster DNS address of the tenant: the second address of its range."""
    return str(ipaddress.ip_network(service_cidr)[2])


def system_tenant_uid(cluster_id: str) -> str:
    """The UID of the tenant `system`, known before the store is: components' certificates name it."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"hypernetes://{cluster_id}/tenants/{SYSTEM_TENANT}"))


@dataclass(frozen=True, slots=True)
class TenantSAN:
    """The URI SAN of a client certificate: which tenant, and which incarnation of it, the certificate is good for."""

    cluster_id: str
    tenant: str
    tenant_uid: str

    def __str__(self) -> str:
        return f"hypernetes://{self.cluster_id}/tenants/{self.tenant}/{self.tenant_uid}"

    @classmethod
    def parse(cls, uri: str) -> "TenantSAN | None":
        match = _SAN.match(uri)
        return match and cls(match["cluster"], match["name"], match["uid"])


def mac_address(pod_uid: str) -> str:
    """Of a pod's port: locally administered, and the same wherever the pod runs."""
    return ":".join(["02", *(f"{byte:02x}" for byte in hashlib.sha256(pod_uid.encode()).digest()[:5])])
