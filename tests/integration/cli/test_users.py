"""`hn user`, against a real API server."""

import asyncio
import sys
from pathlib import Path

from hypernetes.client import kubeconfig
from tests import walkthrough
from tests.integration.control_plane import ControlPlane, running

_HN = Path(sys.executable).with_name("hn")


async def hn(plane: ControlPlane, *arguments: str, answer: str = "", fails: bool = False) -> str:
    where = () if "--server" in arguments else ("--dir", str(plane.layout.root))
    process = await asyncio.create_subprocess_exec(
        _HN, *arguments, *where,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(answer.encode()), 60)
    assert (process.returncode != 0) is fails, output
    return output.decode()


async def whoami(kubeconfig: Path, *, fails: bool = False) -> str:
    process = await asyncio.create_subprocess_exec(
        "kubectl", "--kubeconfig", kubeconfig, "auth", "whoami",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode != 0) is fails, output
    return output.decode()


async def test_a_user_is_made_logs_in_and_ends(tmp_path: Path) -> None:
    async with running(tmp_path, tenant="acme") as (plane, _):
        await hn(plane, "user", "create", "acme", "jane", "--group", "dev", "--display-name", "Jane Doe")
        assert (await hn(plane, "user", "list", "acme")).splitlines()[1].split() == ["jane", "dev", "no", "Jane", "Doe"]
        assert "must have at least 8" in await hn(
            plane, "user", "passwd", "acme", "jane", "--stdin", answer="short\n", fails=True
        )
        await hn(plane, "user", "passwd", "acme", "jane", "--stdin", answer="correct horse\n")
        mine = tmp_path / "jane.kubeconfig"
        ca = plane.layout.root / "pki" / "ca.crt"
        server = kubeconfig.read(plane.layout.admin_kubeconfig).server
        login = ("user", "login", "acme", "jane", "--server", server, "--ca", str(ca), "--kubeconfig", str(mine),
                 "--stdin")  # fmt: skip
        assert "Unauthorized" in await hn(plane, *login, answer="a wrong one\n", fails=True)
        assert not mine.exists()
        await hn(plane, *login, answer="correct horse\n")
        assert mine.stat().st_mode & 0o777 == 0o600
        assert "[dev system:authenticated]" in await whoami(mine)
        passwd = ("user", "passwd", "acme", "jane", "--server", server, "--ca", str(ca), "--stdin")
        assert "Unauthorized" in await hn(plane, *passwd, answer="a wrong one\nbattery staple\n", fails=True)
        await hn(plane, *passwd, answer="correct horse\nbattery staple\n")
        await whoami(mine, fails=True)
        await hn(plane, *login, answer="battery staple\n")
        await whoami(mine)
        other = Path((await hn(plane, "tenant", "kubeconfig", "acme", "--user", "jane", "--token")).strip())
        assert "jane" in await whoami(other)
        assert (await hn(plane, "user", "token", "acme", "jane", "--hours", "1")).startswith("hnu~acme~jane~")
        signs, verifies = (await hn(plane, "tenant", "rotate-keys", "acme")).splitlines()
        assert signs.endswith("signs")
        assert "until" in verifies
        assert (await hn(plane, "tenant", "rotate-keys", "acme", "--at-once")).endswith("signs\n")
        await hn(plane, "user", "disable", "acme", "jane")
        await whoami(mine, fails=True)
        await hn(plane, "user", "enable", "acme", "jane")
        await whoami(mine)
        await hn(plane, "user", "revoke", "acme", "jane")
        await whoami(mine, fails=True)
        await hn(plane, "user", "delete", "acme", "jane")
        assert "not found" in await hn(plane, "user", "token", "acme", "jane", fails=True)


async def test_the_walk_through_local_users_of_the_documents(tmp_path: Path) -> None:
    document = walkthrough.REPOSITORY / "docs" / "tenancy.md"
    async with running(tmp_path / "data", tenant="acme") as (plane, _):
        server = kubeconfig.read(plane.layout.admin_kubeconfig).server
        assert await walkthrough.walk(document, tmp_path, "Local users", API=server) > 10
        assert await walkthrough.walk(document, tmp_path, "Service accounts' keys and lasting tokens") == 1
