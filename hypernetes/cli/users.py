"""`hn user`: people of a tenant whom the cluster knows by itself, their passwords and tokens.

The provider's administrator does all but `login`, which anybody does with a name and a password; with those they give
themselves another password, too.
"""

from pathlib import Path
from typing import Any

from hypernetes.api import scheme
from hypernetes.api.models.hypernetes_v1 import User, UserSpec
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.client import Client, ClientConfig, kubeconfig
from hypernetes.client.kubeconfig import Kubeconfig

COLUMNS = ("NAME", "GROUPS", "DISABLED", "DISPLAY-NAME")  # of `hn user list`
_USERS = scheme.by_kind(User.API_VERSION, User.KIND)


async def create(client: Client, tenant: str, name: str, groups: tuple[str, ...], display_name: str | None) -> None:
    spec = UserSpec(groups=list(groups), display_name=display_name)
    await client.create(User(metadata=ObjectMeta(name=name), spec=spec), tenant=tenant)


async def listing(client: Client, tenant: str) -> list[tuple[str, ...]]:
    """Their cells under `COLUMNS`."""
    users = (await client.list(User, tenant=tenant)).items
    return [
        (user.metadata.name or "", ",".join(user.spec.groups) or "-", "yes" if user.spec.disabled else "no",
         user.spec.display_name or "-")
        for user in users
    ]  # fmt: skip


async def set_password(client: Client, tenant: str, name: str, password: str) -> None:
    await client.request("POST", f"{_path(tenant, name)}/password", json={"spec": {"password": password}})


async def token(client: Client, tenant: str, name: str, seconds: int) -> str:
    """A new one, without the user's password."""
    spec = {"spec": {"expirationSeconds": seconds}}
    answer: dict[str, Any] = await client.request("POST", f"{_path(tenant, name)}/token", json=spec)
    return str(answer["status"]["token"])


async def revoke(client: Client, tenant: str, name: str) -> None:
    await client.request("DELETE", f"{_path(tenant, name)}/token")


async def login(server: str, ca: bytes, tenant: str, name: str, password: str, seconds: int) -> Kubeconfig:
    """Raises StatusError (Unauthorized)."""
    spec = {"username": name, "password": password, "expirationSeconds": seconds}
    token = await _logged_in(server, ca, tenant, spec)
    return Kubeconfig(server=server, ca_pem=ca, token=token, namespace="default")


async def change_password(server: str, ca: bytes, tenant: str, name: str, password: str, new: str) -> None:
    """By whoever knows the one that there is. Raises StatusError (Unauthorized)."""
    await _logged_in(server, ca, tenant, {"username": name, "password": password, "newPassword": new})


async def _logged_in(server: str, ca: bytes, tenant: str, spec: dict[str, Any]) -> str:
    """The token."""
    async with Client(ClientConfig(server=server, ca_pem=ca, user_agent="hn")) as client:
        answer = await client.request("POST", f"/tenants/{tenant}/login", json={"spec": spec})
    return str(answer["status"]["token"])


def write_kubeconfig(path: Path, content: Kubeconfig, tenant: str, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    kubeconfig.write(path, content, name=tenant, user=name)


def _path(tenant: str, name: str) -> str:
    return _USERS.path(tenant, name=name)
