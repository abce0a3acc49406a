"""A list in protobuf, item by item. Its length comes first, so the items are looked at twice.

The first look makes the messages that nobody has asked for before, which takes longer than to send them; others get
their turn in between.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from hypernetes.apiserver.mirror import Entry
from hypernetes.apiserver.protobuf import envelopes
from hypernetes.apiserver.views import ProtobufView

_AT_A_TIME = 64  # items before others have their turn: some 5 ms, where none of their messages is there


async def pieces(view: ProtobufView, entries: list[Entry], metadata: dict[str, Any]) -> Iterator[bytes]:
    """The list in its envelope."""
    first = envelopes.list_head(metadata)
    length = len(first)
    for number, entry in enumerate(entries, 1):
        size = len(view.message(entry))
        length += len(envelopes.item_head(size)) + size
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)
    head = envelopes.head(view.api_version, f"{view.kind}List", length) + first
    return _pieces(view, entries, head)


def _pieces(view: ProtobufView, entries: list[Entry], head: bytes) -> Iterator[bytes]:
    yield head
    for entry in entries:
        message = view.message(entry)
        yield envelopes.item_head(len(message))
        yield message
    yield envelopes.TAIL
