"""`hn tenant`: makes, changes and ends tenants, and makes the credentials of their administrators.

A tenant's key is made here and never leaves this machine but in the kubeconfig: the API server signs a request.
"""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernetes.api import scheme
from hypernetes.api.models.hypernetes_v1 import Tenant, TenantSpec
from hypernetes.api.models.meta_v1 import Condition, ObjectMeta
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import DEFAULT_SERVICE_CIDR, SYSTEM_TENANT, is_dns_label
from hypernetes.cli import users
from hypernetes.cli.errors import CommandError
from hypernetes.cli.layout import Layout
from hypernetes.client import Client, ClientConfig, kubeconfig
from hypernetes.client.kubeconfig import Kubeconfig
from hypernetes.pki.certificates import key_pem, new_key, signing_request

MASTERS_GROUP = "system:masters"
LIFETIME_DAYS = 365
TOKEN_HOURS = 12
COLUMNS = ("NAME", "PHASE", "PODS", "STORED", "SERVICE-CIDR", "FLAGS")  # of `hn tenant list`
_LOOK_SECONDS = 0.5  # at a tenant that ends


@dataclass(frozen=True, slots=True)
class Credential:
    """Whose certificate to make."""

    tenant: str
    user: str
    groups: tuple[str, ...]


def administrator(tenant: str) -> Credential:
    return Credential(tenant, f"{tenant}-admin", (MASTERS_GROUP,))


def check_name(name: str) -> None:
    """Raises CommandError where no tenant may be called so."""
    if not is_dns_label(name):
        raise CommandError(
            f"{name!r} can't be a tenant's name: use lower-case letters, digits and '-', up to 63 characters"
        )
    if name == SYSTEM_TENANT:
        raise CommandError(f"{name!r} is the provider's own tenant; its kubeconfig is DIR/admin.kubeconfig")


def open_client(layout: Layout) -> Client:
    """A client of the provider's administrator. Raises CommandError where there is no cluster here."""
    layout.load()
    try:
        return Client(ClientConfig.from_kubeconfig(layout.admin_kubeconfig, user_agent="hn"))
    except kubeconfig.KubeconfigError as error:
        raise CommandError(f"{error}; is the cluster in {layout.root} up, and are you root?") from error


async def create(client: Client, layout: Layout, name: str, service_cidr: str | None) -> tuple[Path, bool]:
    """The tenant's kubeconfig, and whether the tenant is new. One that exists is left as it is."""
    check_name(name)
    tenant = Tenant(metadata=ObjectMeta(name=name), spec=TenantSpec(service_cidr=service_cidr))
    created = True
    try:
        await client.create(tenant)
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise
        created = False
    return await write_kubeconfig(client, layout, administrator(name)), created


async def write_kubeconfig(client: Client, layout: Layout, credential: Credential) -> Path:
    """Has a new certificate signed and writes `tenants/<tenant>.kubeconfig`."""
    key = new_key()
    answer = await client.request(
        "POST",
        scheme.by_kind(Tenant.API_VERSION, Tenant.KIND).path(SYSTEM_TENANT, name=credential.tenant) + "/certificate",
        json=certificate_request(credential, signing_request(credential.user, key)),
    )
    config = client.config
    path = layout.tenant_kubeconfig(credential.tenant)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    content = Kubeconfig(
        server=config.server,
        ca_pem=config.ca_pem,
        client_cert_pem=base64.b64decode(answer["status"]["certificate"]),
        client_key_pem=key_pem(key),
        namespace="default",
    )
    kubeconfig.write(path, content, name=credential.tenant, user=credential.user)
    return path


async def write_token_kubeconfig(client: Client, layout: Layout, tenant: str, user: str) -> Path:
    """Has a token of a local user made and writes `tenants/<tenant>.kubeconfig`."""
    config, path = client.config, layout.tenant_kubeconfig(tenant)
    made = await users.token(client, tenant, user, TOKEN_HOURS * 3600)
    content = Kubeconfig(server=config.server, ca_pem=config.ca_pem, token=made, namespace="default")
    users.write_kubeconfig(path, content, tenant, user)
    return path


def certificate_request(credential: Credential, pem: bytes) -> dict[str, Any]:
    return {
        "apiVersion": "hypernetes.io/v1",
        "kind": "CertificateRequest",
        "metadata": {"name": credential.tenant},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "user": credential.user,
            "groups": list(credential.groups),
            "expirationSeconds": LIFETIME_DAYS * 86400,
        },
    }


async def listing(client: Client) -> list[Tenant]:
    return (await client.list(Tenant, tenant=SYSTEM_TENANT)).items


def row(tenant: Tenant) -> tuple[str, ...]:
    """Its cells under `COLUMNS`."""
    status = tenant.status
    flags = [word for word, said in (("protected", tenant.spec.deletion_protection),) if said]
    return (
        tenant.metadata.name or "", status.phase or "-", str(status.pods or 0),
        f"{(status.stored_bytes or 0) / 1024**2:.1f}Mi", tenant.spec.service_cidr or DEFAULT_SERVICE_CIDR,
        ",".join(flags) or "-",
    )  # fmt: skip


async def change(client: Client, name: str, **spec: bool) -> None:
    """Sets fields of a tenant's spec."""
    await client.patch(Tenant, name, {"spec": spec}, tenant=SYSTEM_TENANT)


async def delete(client: Client, name: str, tell: Callable[[str], None], *, wait: bool) -> None:
    """Deletes a tenant; with `wait` it tells what is left whenever that changes, until nothing is."""
    uid = (await client.get(Tenant, name, tenant=SYSTEM_TENANT)).metadata.uid
    await client.delete(Tenant, name, tenant=SYSTEM_TENANT, uid=uid)
    former = ""
    while wait:
        try:
            found = await client.get(Tenant, name, tenant=SYSTEM_TENANT)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return
        if found.metadata.uid != uid:
            return  # somebody has made another one already
        progress = "; ".join(each.message for each in found.status.conditions if _is_remaining(each))
        if progress and progress != former:
            tell(progress)
            former = progress
        await asyncio.sleep(_LOOK_SECONDS)


async def rotate_keys(client: Client, name: str, *, at_once: bool) -> list[str]:
    """Has another key sign the tenant's tokens; the keys that verify, the new one first."""
    path = scheme.by_kind(Tenant.API_VERSION, Tenant.KIND).path(SYSTEM_TENANT, name=name) + "/tokenkeys"
    answer = await client.request("POST", path, json={"spec": {"overlapSeconds": 0} if at_once else {}})
    return [
        f"{each['id']} {'signs' if each['until'] is None else 'until ' + each['until']}"
        for each in answer["status"]["keys"]
    ]


def _is_remaining(condition: Condition) -> bool:
    return condition.type.endswith("Remaining") and condition.status == "True"
