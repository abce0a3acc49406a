"""A provider with a table of tokens, for tests of what uses providers."""

import asyncio
from datetime import timedelta

from hypernetes.providers.identity.base import ExternalTenant, Identity, ProviderUnavailable, TokenUnanswered


class TableProvider:
    """`answers` may change at any time; `up` False: unavailable; None: silent."""

    def __init__(self, name: str = "table", **answers: Identity) -> None:
        self.name, self.answers = name, dict(answers)
        self.fresh_for, self.stale_for = timedelta(seconds=30), timedelta(minutes=10)
        self.up: bool | None = True
        self.unanswered = ""
        self.asked: list[str] = []

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def recognises(self, token: str) -> bool:
        return not token.startswith("other")

    async def identity_of(self, token: str) -> Identity | None:
        self.asked.append(token)
        await asyncio.sleep(0)
        if self.up is None:
            await asyncio.Event().wait()
        if token == self.unanswered:
            raise TokenUnanswered("the table can't say")
        if not self.up:
            raise ProviderUnavailable("the table is away")
        return self.answers.get(token)

    async def tenants(self) -> list[ExternalTenant]:
        ids = sorted({each.tenant.id for each in self.answers.values() if each.tenant.id})
        return [ExternalTenant(id, f"Project {id}") for id in ids]

    async def tenant(self, id: str) -> ExternalTenant | None:
        return next((each for each in await self.tenants() if each.id == id), None)
