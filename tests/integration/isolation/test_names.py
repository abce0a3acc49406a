"""DNS: a node that has pods of both tenants answers each pod from its own tenant only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.message
import dns.rcode
import dns.reversename
import pytest

from hypernetes.api.tenancy import DEFAULT_SERVICE_CIDR
from hypernetes.client import Client, ClientConfig
from hypernetes.nodeagent import dns as cluster_dns
from hypernetes.nodeagent.tenantview import TenantViews
from hypernetes.pki import PkiDirectory, node_role
from tests.integration.isolation.canaries import Leak
from tests.integration.isolation.worlds import World, ok, world

_TYPES = ("A", "AAAA", "SRV", "PTR", "CNAME", "TXT", "ANY")


@asynccontextmanager
async def views(found: World, directory: Path) -> AsyncIterator[TenantViews]:
    """What the agent of n2, which has pods of both, knows of the tenants."""
    path, binding = "/tenants/acme/api/v1/namespaces/default/pods", {"target": {"kind": "Node", "name": "n2"}}
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await ok(found.provider("POST", path, {"metadata": {"name": "beside"}, "spec": spec}))
    await ok(found.provider("POST", f"{path}/beside/binding", {"metadata": {"name": "beside"}, **binding}))
    pki, role = PkiDirectory(directory / "pki", "isolation"), node_role("n2")
    config = ClientConfig(
        found.provider.url, pki.ca_certificate.read_bytes(), pki.certificate(role).read_bytes(),
        pki.key(role).read_bytes(),
    )  # fmt: skip
    async with Client(config) as client:
        made = TenantViews(client)
        running = asyncio.create_task(made.run())
        try:
            for tenant in ("acme", "globex"):
                made.follow(tenant)
            async with asyncio.timeout(60):
                for tenant in ("acme", "globex"):
                    await made.wait_synced(tenant)
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def asked(made: TenantViews, tenant: str, name: str, kind: str) -> dns.message.Message:
    view = made.dns_view(tenant, DEFAULT_SERVICE_CIDR)
    answer = cluster_dns.answer(dns.message.make_query(name, kind).to_wire(), view)
    assert answer is not None, f"{name} was to be answered here"
    return dns.message.from_wire(answer)


def questions(services: list[tuple[str, str, str]]) -> list[str]:
    """Of (namespace, name, address)."""
    found = [
        "svc.cluster.local",
        "*.default.svc.cluster.local",
        "default.svc.cluster.local",
        "any.any.svc.cluster.local",
    ]
    for namespace, name, address in services:
        host = f"{name}.{namespace}.svc.cluster.local"
        found += [host, f"{namespace}.svc.cluster.local", f"_http._tcp.{host}", f"globex.{host}"]
        if address not in ("", "None"):
            found.append(dns.reversename.from_address(address).to_text())
    return found


async def _look_up_everything(found: World, made: TenantViews) -> None:
    """Raises Leak where acme's pods are told anything of globex."""
    listed = (await ok(found.globex("GET", "/api/v1/services"))).json["items"]
    services = [(s["metadata"]["namespace"], s["metadata"]["name"], s["spec"].get("clusterIP", "")) for s in listed]
    theirs = [service for service in services if service[1] != "kubernetes"]
    assert len(theirs) >= 2
    for name in questions(theirs):
        for kind in _TYPES:
            message = asked(made, "acme", name, kind)
            given = [rrset.to_text() for section in (message.answer, message.additional) for rrset in section]
            found.canaries.check("\n".join(given).encode(), (name, kind))
            if given and not name.endswith("in-addr.arpa."):
                raise Leak(f"{name} {kind}: {given}")
    for namespace, name, address in theirs:
        host = f"{name}.{namespace}.svc.cluster.local"
        assert asked(made, "acme", host, "A").rcode() == dns.rcode.NXDOMAIN
        assert address in asked(made, "globex", host, "A").to_text(), "globex's own pods find it"


async def test_no_name_or_address_of_another_tenant_is_answered(tmp_path: Path) -> None:
    async with world(tmp_path) as found, views(found, tmp_path) as made:
        await _look_up_everything(found, made)


async def test_it_would_be_seen_if_names_were_answered_from_another_tenant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as found, views(found, tmp_path) as made:
        own = TenantViews._service
        monkeypatch.setattr(
            TenantViews, "_service",
            lambda self, tenant, namespace, name: own(self, tenant, namespace, name)
            or own(self, "globex", namespace, name),
        )  # fmt: skip
        with pytest.raises(Leak):
            await _look_up_everything(found, made)
