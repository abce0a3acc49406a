"""The provider. OpenStack's libraries block, so all of them run in a few threads of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hypernetes.providers.identity.base import ExternalTenant, Identity, ProviderUnavailable
from hypernetes.providers.identity.keystone import configuration, projects, tokens, validation

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter

Result = TypeVar("Result")

_THREADS = 8  # questions under way: Keystone answers one in some 20 ms
_LIST_SECONDS = 120.0
# What an answer comes to that isn't what it should be, in OpenStack's libraries or here.
_NONSENSE = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class KeystoneIdentityProvider:
    """See hypernetes/providers/identity/base.py, which has the promises."""

    name = "keystone"
    fresh_for = timedelta(seconds=30)
    stale_for = timedelta(minutes=10)

    def __init__(self, file: Path | None = None) -> None:
        """Raises ConfigurationError."""
        self._configuration = configuration.read(file)
        self._threads: ThreadPoolExecutor | None = None
        self._validate: validation.Validate | None = None
        self._adapter: Adapter | None = None

    async def open(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="keystone")

        def prepared() -> "tuple[validation.Validate, Adapter]":
            region = configuration.region(self._configuration)
            return validation.validator(region), projects.adapter(region)

        self._validate, self._adapter = await asyncio.get_running_loop().run_in_executor(self._threads, prepared)

    def recognises(self, token: str) -> bool:
        return validation.recognises(token)

    async def identity_of(self, token: str) -> Identity | None:
        if not self.recognises(token):
            return None
        validate = self._validate
        assert validate is not None
        described = await self._in_thread(lambda: validate(token))
        try:
            return None if described is None else tokens.identity(described)
        except ValueError as error:
            raise ProviderUnavailable(f"what Keystone says of a token can't be understood: {error}") from error

    async def tenants(self) -> list[ExternalTenant]:
        keystone = self._adapter
        assert keystone is not None
        try:
            async with asyncio.timeout(_LIST_SECONDS):
                return await self._in_thread(lambda: projects.listed(keystone, self._configuration))
        except TimeoutError as error:
            raise ProviderUnavailable(f"no list of projects in {_LIST_SECONDS:.0f} s") from error

    async def tenant(self, id: str) -> ExternalTenant | None:
        keystone = self._adapter
        assert keystone is not None
        return await self._in_thread(lambda: projects.found(keystone, id))

    async def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, question: Callable[[], Result]) -> Result:
        """Raises ProviderUnavailable."""
        refusals = validation.refusals()

        def asked() -> Result:
            try:
                return question()
            except refusals as error:
                raise ProviderUnavailable(validation.reason(error)) from error
            except _NONSENSE as error:
                raise ProviderUnavailable(
                    f"Keystone's answer can't be understood: {validation.reason(error)}"
                ) from error

        return await asyncio.get_running_loop().run_in_executor(self._threads, asked)
