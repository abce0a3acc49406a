from pathlib import Path
from typing import Any

import pytest

from hypernetes.api.status import StatusError
from hypernetes.cli import firstobjects
from hypernetes.cli.errors import CommandError
from hypernetes.cli.layout import Layout


class Server:
    def __init__(self, *present: str) -> None:
        self.classes = list(present)
        self.error: str | None = None

    async def list(self, model: Any) -> Any:
        return type("Listing", (), {"items": self.classes})

    async def create(self, made: Any) -> None:
        if self.error is not None:
            raise StatusError(self.error, "no")
        assert made.metadata.annotations == {"storageclass.kubernetes.io/is-default-class": "true"}
        self.classes = [*self.classes, made.metadata.name]


async def ensured(layout: Layout, server: Server) -> list[str]:
    await firstobjects.ensure(layout, server)  # type: ignore[arg-type]
    return server.classes


async def test_a_new_cluster_has_a_default_class_which_an_administrator_may_delete(tmp_path: Path) -> None:
    layout, server = Layout(tmp_path), Server()
    assert await ensured(layout, server) == ["local"]
    server.classes = []
    assert await ensured(layout, server) == []


async def test_where_there_are_classes_none_is_made(tmp_path: Path) -> None:
    assert await ensured(Layout(tmp_path), Server("fast")) == ["fast"]


async def test_one_that_a_start_that_was_cut_off_has_made_is_no_error(tmp_path: Path) -> None:
    server = Server()
    server.error = "AlreadyExists"
    assert await ensured(Layout(tmp_path), server) == []


async def test_a_refusal_fails_the_start_and_the_next_one_tries_again(tmp_path: Path) -> None:
    layout, server = Layout(tmp_path), Server()
    server.error = "Forbidden"
    with pytest.raises(CommandError, match="default StorageClass"):
        await ensured(layout, server)
    server.error = None
    assert await ensured(layout, server) == ["local"]
