"""hn-controllers with a network provider that misbehaves: all else goes on, and so does it once the provider does."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.integration.control_plane import running
from tests.thirdparty.wheels import reachable

from . import unruly

WITHIN_SECONDS = 90.0


async def test_controllers_go_on_and_the_network_comes_when_its_provider_does(tmp_path: Path) -> None:
    unruly.install(tmp_path / "packages")
    mood = tmp_path / "mood"
    mood.write_text("blocks")
    with reachable(tmp_path / "packages"):
        async with running(tmp_path / "data", tenant="acme") as (plane, _):
            await plane.start("controllers", "--network-provider", f"unruly={mood}")

            async def until(resource: str, holds: Any) -> None:
                async with asyncio.timeout(WITHIN_SECONDS):
                    while not holds(json.loads(await plane.kubectl("acme", "get", resource, "-o", "json"))["items"]):
                        await asyncio.sleep(0.2)

            await plane.kubectl("acme", "create", "deployment", "web", "--image=example.com/web", "--replicas=3")
            await until("pods", lambda found: len(found) == 3)
            await until("networks", lambda found: "ProviderSilent" in (found[0]["status"].get("message") or ""))
            pid = plane.pid("controllers")
            mood.write_text("works")
            await until("networks", lambda found: [each["status"]["phase"] for each in found] == ["Active"])
            assert (plane.pid("controllers"), plane.has_ended("controllers")) == (pid, False)
