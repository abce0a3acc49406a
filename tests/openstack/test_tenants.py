"""A control plane whose tenants and people are Keystone's: everything real but the machines."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from hypernetes.api.models.core_v1 import ConfigMap, Namespace
from hypernetes.api.models.hypernetes_v1 import Tenant
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.status import StatusError
from hypernetes.client import Client, ClientConfig
from tests import walkthrough
from tests.integration.control_plane import ControlPlane, running
from tests.openstack.keystones import ADMIN_PASSWORD, Keystone
from tests.openstack.people import Person

GRACE_SECONDS = 8.0
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("keystone-tenants")
    file = directory / "keystone.yaml"
    file.write_text(yaml.safe_dump({"cloud": "hypernetes", "clouds": str(keystone.clouds_file)}))
    provider = ("--identity-provider", f"keystone={file}")
    async with running(directory / "data", options=provider) as (plane, _):
        await plane.start("controllers", *provider, "--project-grace-seconds", str(GRACE_SECONDS))
        yield plane


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider(plane: ControlPlane) -> AsyncIterator[Client]:
    async with plane.client() as client:
        yield client


def with_token(plane: ControlPlane, token: str) -> Client:
    config = ClientConfig.from_kubeconfig(plane.layout.admin_kubeconfig)
    return Client(ClientConfig(server=config.server, ca_pem=config.ca_pem, token=token))


async def until(seconds: float, holds: Callable[[], Awaitable[bool]]) -> float:
    """How long it took until that holds."""
    begun = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.2)
    return time.monotonic() - begun


async def reason(work: Awaitable[Any]) -> str:
    """Why a request is refused; "" where it isn't."""
    try:
        await work
    except StatusError as error:
        return error.reason
    return ""


async def phase(provider: Client, tenant: str) -> str:
    found = [each for each in (await provider.list(Tenant, tenant="system")).items if each.metadata.name == tenant]
    return (found[0].status.phase or "") if found else "gone"


async def is_(provider: Client, tenant: str, wanted: str) -> bool:
    return await phase(provider, tenant) == wanted


async def test_the_walk_through_keystone_of_the_documents(keystone: Keystone, plane: ControlPlane) -> None:
    document = walkthrough.REPOSITORY / "docs" / "tenancy.md"
    directory = plane.layout.root.parent
    (directory / "clouds.yaml").write_text(keystone.clouds_file.read_text())
    own, fetched = Path(sys.executable).parent, walkthrough.REPOSITORY / "build" / "bin"
    path = f"{own}:{fetched}:{os.environ['PATH']}:{keystone.environment / 'bin'}"
    where = {"KEYSTONE": keystone.url.removesuffix("/v3"), "PATH": path}
    assert await walkthrough.walk(document, directory, "Tenants from Keystone", **where) > 10


async def test_a_role_that_is_taken_away_ends_access_and_what_is_open_within_a_minute(
    keystone: Keystone, plane: ControlPlane
) -> None:
    await asyncio.to_thread(keystone.project, "role-story", bob="_member_", rita="reader")
    bob, rita = Person(keystone, plane, "bob", "role-story"), Person(keystone, plane, "rita", "role-story")
    assert "keystone:bob@Default in tenant role-story" in await asyncio.to_thread(bob.log_in)
    await asyncio.to_thread(rita.log_in)
    await asyncio.to_thread(bob.does, "create", "secret", "generic", "word", "--from-literal=a=b")
    assert "forbidden" in (await asyncio.to_thread(rita.kubectl.fails, "get", "secrets"))
    with bob.kubectl.background("get", "configmaps", "--watch", "--output=name") as watch:
        shown: asyncio.Future[str] = asyncio.ensure_future(asyncio.to_thread(first_line, watch))
        await asyncio.to_thread(bob.does, "create", "configmap", "seen")
        assert "configmap/" in await asyncio.wait_for(shown, 30)
        keystone.openstack("role", "remove", "--user", "bob", "--project", "role-story", "_member_")
        removed = time.monotonic()
        await asyncio.to_thread(watch.wait, 60)
        assert time.monotonic() - removed <= 60
    assert await asyncio.to_thread(bob.kubectl.fails, "get", "configmaps")
    assert "seen" in await asyncio.to_thread(rita.does, "get", "configmaps")


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


async def test_projects_come_are_suspended_and_go_and_their_tenants_with_them(
    keystone: Keystone, plane: ControlPlane, provider: Client
) -> None:
    id = await asyncio.to_thread(keystone.project, "comes-and-goes", dora="member")
    assert await until(5, lambda: is_(provider, "comes-and-goes", "Active")) <= 5
    token = await asyncio.to_thread(keystone.token, "dora", "comes-and-goes")
    async with with_token(plane, token) as dora:
        made = ConfigMap(metadata=ObjectMeta(name="c", namespace="default"))
        await dora.create(made)
        # disabling a project revokes its tokens; suspension is for what goes on without them
        await asyncio.to_thread(keystone.rest.patch, f"/projects/{id}", json={"project": {"enabled": False}})
        assert await until(8, lambda: is_(provider, "comes-and-goes", "Suspended")) <= 8
        await asyncio.to_thread(keystone.rest.patch, f"/projects/{id}", json={"project": {"enabled": True}})
        await until(8, lambda: is_(provider, "comes-and-goes", "Active"))
        again = await asyncio.to_thread(keystone.token, "dora", "comes-and-goes")
    async with with_token(plane, again) as dora:
        assert (await dora.get(ConfigMap, "c", namespace="default")).metadata.name == "c"
        deleted = time.monotonic()  # no earlier than this: the command may end some time after the project
        await asyncio.to_thread(keystone.openstack, "project", "delete", "comes-and-goes")
        await until(8, lambda: is_(provider, "comes-and-goes", "Suspended"))
        await until(90, lambda: is_(provider, "comes-and-goes", "gone"))
        assert time.monotonic() - deleted >= GRACE_SECONDS
        assert await until(40, lambda: unauthorized(dora)) <= 40


async def unauthorized(client: Client) -> bool:
    return await reason(client.list(Namespace)) == "Unauthorized"


async def test_an_admin_of_a_domain_sees_its_tenants_and_one_of_the_system_sees_all(
    keystone: Keystone, plane: ControlPlane, provider: Client
) -> None:
    rest = keystone.rest
    domain = rest.post("/domains", json={"domain": {"name": "reseller"}}).json()["domain"]["id"]
    keystone.project("not-the-resellers", dave="member")
    project = {"name": "resold", "domain_id": domain, "tags": ["hypernetes"]}
    rest.post("/projects", json={"project": project})
    dave = rest.get("/users?name=dave").json()["users"][0]["id"]
    rest.put(f"/domains/{domain}/users/{dave}/roles/{keystone.role('admin')}")
    for tenant in ("resold", "not-the-resellers"):
        await until(8, lambda tenant=tenant: is_(provider, tenant, "Active"))
    async with with_token(plane, keystone.scoped_token("dave", domain_id=domain)) as reseller:
        assert [each.metadata.name for each in (await reseller.list(Tenant)).items] == ["resold"]
        assert await reason(reseller.get(Tenant, "not-the-resellers")) == "Forbidden"
        assert await reason(reseller.list(Namespace)) == "Forbidden"
        assert await reason(reseller.list(Namespace, tenant="resold")) == "Forbidden"
        assert await reason(reseller.create(Tenant(metadata=ObjectMeta(name="own")))) == "Forbidden"
    admin = keystone.scoped_token("admin", ADMIN_PASSWORD, system_scope="all")
    async with with_token(plane, admin) as operator:
        names = {each.metadata.name for each in (await operator.list(Tenant)).items}
        assert {"resold", "not-the-resellers"} <= names
        assert await reason(operator.list(Namespace, tenant="resold")) == ""


async def test_while_keystone_is_away_who_is_known_goes_on_and_who_is_new_is_told(
    keystone: Keystone, plane: ControlPlane, provider: Client
) -> None:
    await asyncio.to_thread(keystone.project, "outage", erin="member")
    await until(8, lambda: is_(provider, "outage", "Active"))
    known, new = [await asyncio.to_thread(keystone.token, "erin", "outage") for _ in range(2)]
    async with with_token(plane, known) as erin, with_token(plane, new) as other:
        await erin.list(Namespace)
        keystone.stop()
        try:
            begun = time.monotonic()
            while time.monotonic() - begun < 35:  # longer than an answer of Keystone's is fresh
                await erin.list(Namespace)
                await asyncio.sleep(1)
            with pytest.raises(StatusError) as caught:
                await other.list(Namespace)
            assert caught.value.reason == "ServiceUnavailable"
            assert "'keystone' does not answer" in caught.value.message
        finally:
            await asyncio.to_thread(keystone.start)
        await until(30, lambda: listed(other))


async def listed(client: Client) -> bool:
    return await reason(client.list(Namespace)) == ""
