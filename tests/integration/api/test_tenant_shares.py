"""A tenant's watches are bounded by its weight, on the real server."""

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from hypernetes.apiserver import app
from hypernetes.apiserver.limits import Limits
from hypernetes.apiserver.storage.base import Store
from tests.integration.api.servers import User, serving
from tests.integration.api.test_tenant_states import CONFIG_MAPS, TENANTS, set_spec


async def test_a_tenant_with_all_its_watches_open_is_told_to_come_back(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "Limits", partial(Limits, watches=3))
    async with (
        serving(store, tmp_path, "shares") as admin, await admin.tenant("acme") as acme,
        await admin.tenant("globex") as globex, AsyncExitStack() as opened,
    ):  # fmt: skip

        async def watches(user: User, count: int) -> None:
            for _ in range(count):
                await opened.enter_async_context(user.watch(CONFIG_MAPS))

        await watches(acme, 3)
        refused = await acme("GET", CONFIG_MAPS, watch="true")
        assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
        assert (await acme("GET", CONFIG_MAPS)).status == 200
        await watches(globex, 3)
        await watches(admin, 5)
        await set_spec(admin, "acme", weight=2)
        await watches(acme, 3)
        assert (await acme("GET", CONFIG_MAPS, watch="true")).status == 429


async def test_a_weight_is_between_1_and_100(admin: User) -> None:
    for weight, status in ((0, 422), (101, 422), (100, 201)):
        made = await admin("POST", TENANTS, {"metadata": {"name": "acme"}, "spec": {"weight": weight}})
        assert made.status == status
