"""`hn tenant`, against a real API server."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.control_plane import ControlPlane, running

_HN = Path(sys.executable).with_name("hn")


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with running(tmp_path, tenant="acme") as (plane, _):
        yield plane


async def hn(plane: ControlPlane, *arguments: str, answer: str = "", fails: bool = False) -> str:
    """What `hn tenant …` prints."""
    process = await asyncio.create_subprocess_exec(
        _HN, "tenant", *arguments, "--dir", plane.layout.root,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(answer.encode()), 60)
    assert (process.returncode != 0) is fails, output
    return output.decode()


async def listed(plane: ControlPlane) -> dict[str, str]:
    header, row = (await hn(plane, "list")).splitlines()
    return dict(zip(header.split(), row.split(), strict=True))


async def test_a_tenant_is_suspended_and_resumed(plane: ControlPlane) -> None:
    await hn(plane, "suspend", "acme")
    shown = await listed(plane)
    assert (shown["NAME"], shown["PHASE"], shown["PODS"], shown["STORED"]) == ("acme", "Suspended", "0", "0.0Mi")
    complaint = await plane.kubectl("acme", "create", "namespace", "n", fails=True)
    assert "the tenant is suspended" in complaint
    await hn(plane, "resume", "acme")
    assert (await listed(plane))["PHASE"] == "Active"
    await plane.kubectl("acme", "create", "namespace", "n")


async def test_a_tenant_is_deleted_once_it_is_not_protected_and_its_owner_is_sure(plane: ControlPlane) -> None:
    await hn(plane, "protect", "acme")
    assert (await listed(plane))["FLAGS"] == "protected"
    assert "spec.deletionProtection" in await hn(plane, "delete", "acme", "--yes", fails=True)
    await hn(plane, "unprotect", "acme")
    assert "Aborted" in await hn(plane, "delete", "acme", answer="n\n", fails=True)
    assert (await listed(plane))["PHASE"] == "Active"
    assert "tenant acme is gone" in await hn(plane, "delete", "acme", answer="y\n")
    assert (await hn(plane, "list")).split() == ["NAME", "PHASE", "PODS", "STORED", "SERVICE-CIDR", "FLAGS"]
    assert "not found" in await hn(plane, "delete", "acme", "--yes", fails=True)


async def test_the_wait_for_a_tenant_s_end_tells_what_is_left(plane: ControlPlane) -> None:
    held = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m","finalizers":["example.com/f"]}}'
    await plane.kubectl("acme", "create", "-f", "-", stdin=held)
    async with plane.client() as client:
        await client.request(
            "PATCH", "/apis/hypernetes.io/v1/tenants/acme", json={"spec": {"deletionGracePeriodSeconds": 2}},
            content_type="application/merge-patch+json",
        )  # fmt: skip
    output = await hn(plane, "delete", "acme", "--yes")
    assert "1 configmaps" in output
    assert "waits for example.com/f in 1 objects" in output
