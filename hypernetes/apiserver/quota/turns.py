"""Whose turn it is to write in which namespace with quotas, and what this process knows about its ledgers."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from hypernetes.apiserver.amounts import Amounts
from hypernetes.apiserver.storage.base import Item

_MOST_NAMESPACES = 4_096  # that are remembered while nobody writes in them


class Turn:
    """One namespace's. What is said of a request is about the one that holds `lock`."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.holder: object = None  # the request that has the lock
        self.charges: dict[str, bytes] = {}  # by quota: the ledger that the request writes
        self.counted: dict[str, Amounts] = {}  # by quota: what the request found used
        self.latest: dict[str, Item] = {}  # by key: ledgers of which we know more than the mirror has heard
        self.untold: set[str] = set()  # quotas whose status is behind their ledger
        self.telling: dict[str, asyncio.Lock] = {}  # by quota: held by who writes its status, for all that wait
        self.users = 0

    @contextmanager
    def held_by(self, request: object) -> Iterator[None]:
        """For the time that the lock is held."""
        self.holder = request
        try:
            yield
        finally:
            self.holder = None
            self.charges, self.counted = {}, {}


class Turns:
    """Those of all namespaces that are written to, and of some that were lately."""

    def __init__(self) -> None:
        self._turns: OrderedDict[tuple[str, str], Turn] = OrderedDict()

    @contextmanager
    def of(self, tenant: str, namespace: str) -> Iterator[Turn]:
        """The namespace's, for as long as the context lasts."""
        where = (tenant, namespace)
        turn = self._turns.setdefault(where, Turn())
        self._turns.move_to_end(where)
        turn.users += 1
        try:
            yield turn
        finally:
            turn.users -= 1
            self._forget()

    def held(self, tenant: str, namespace: str, request: object) -> Turn | None:
        """The namespace's, if the request has it."""
        turn = self._turns.get((tenant, namespace))
        return turn if turn is not None and turn.holder is request else None

    def _forget(self) -> None:
        for where in list(self._turns)[: max(0, len(self._turns) - _MOST_NAMESPACES)]:
            if not self._turns[where].users:
                del self._turns[where]
