"""The certificates and kubeconfigs of a cluster: made at first start, renewed while it runs.

Nothing is restarted for a renewal: processes look at their files (`pki.contexts`, `client.credentials`).
"""

import socket
from collections.abc import Iterable, Sequence
from datetime import datetime

from hypernetes.api.tenancy import DEFAULT_SERVICE_CIDR, SYSTEM_TENANT, kubernetes_address
from hypernetes.cli.layout import Cluster, Layout
from hypernetes.client import kubeconfig
from hypernetes.client.kubeconfig import Kubeconfig
from hypernetes.pki import ADMIN, APISERVER, CONTROLLERS, FRONT_PROXY_CLIENT, KUBELET_CLIENT, SCHEDULER, node_role


def ensure(
    layout: Layout, cluster: Cluster, nodes: Sequence[str], now: datetime, service_cidrs: Iterable[str] = ()
) -> list[str]:
    """Issues what is missing or due, and writes the kubeconfigs; returns the roles that were issued.

    `service_cidrs`: the ranges of the tenants there are, for each has an address by which its pods know the API.
    """
    pki = layout.pki_directory(cluster)
    pki.ensure_authority(now)
    issued = []
    if pki.ensure(APISERVER, now, addresses=serving_addresses(cluster.bind, service_cidrs)):
        issued.append(APISERVER)
    issued += [role for role in (KUBELET_CLIENT, FRONT_PROXY_CLIENT) if pki.ensure(role, now)]
    for role in (ADMIN, SCHEDULER, CONTROLLERS):
        if pki.ensure(role, now):
            issued.append(role)
    for role in map(node_role, nodes):
        if pki.ensure(role, now, addresses=["127.0.0.1"]):
            issued.append(role)
    for role in (ADMIN, SCHEDULER, CONTROLLERS, *map(node_role, nodes)):
        _write_kubeconfig(layout, cluster, role)
    return issued


def serving_addresses(bind: str, service_cidrs: Iterable[str]) -> list[str]:
    """The addresses by which the API is reached: of this machine, and in each tenant's service range."""
    own = [] if bind in ("0.0.0.0", "::") else [bind]
    if not own:
        own = sorted({str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None) if "%" not in info[4]})
    ranges = sorted({DEFAULT_SERVICE_CIDR, *service_cidrs})
    return ["127.0.0.1", "::1", *own, *map(kubernetes_address, ranges)]


def _write_kubeconfig(layout: Layout, cluster: Cluster, role: str) -> None:
    pki = layout.pki_directory(cluster)
    wanted = Kubeconfig(
        server=cluster.server,
        ca_pem=pki.ca_certificate.read_bytes(),
        client_cert_pem=pki.certificate(role).read_bytes(),
        client_key_pem=pki.key(role).read_bytes(),
    )
    path = layout.admin_kubeconfig if role == ADMIN else layout.kubeconfig(role)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not _says(path, wanted):
        kubeconfig.write(path, wanted, name=f"{SYSTEM_TENANT}@{cluster.id}", user=role)


def _says(path: object, wanted: Kubeconfig) -> bool:
    try:
        found = kubeconfig.read(str(path))
    except kubeconfig.KubeconfigError:
        return False
    return (found.server, found.ca_pem, found.client_cert_pem, found.client_key_pem) == (
        wanted.server, wanted.ca_pem, wanted.client_cert_pem, wanted.client_key_pem,
    )  # fmt: skip
