"""A server's lists and watches without a server: what an informer sees, told as a script."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson

from hypernetes.api.scheme import Resource
from hypernetes.client.rest import Page, RawListing, Selection
from hypernetes.client.watching import RawEvent, parse_line


def config_map(name: str, version: int, tenant: str = "acme", **data: str) -> dict[str, Any]:
    annotations = {"hypernetes.io/tenant": tenant}
    metadata = {"name": name, "namespace": "web", "resourceVersion": str(version), "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def line(kind: str, obj: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "object": obj})


def bookmark(version: int) -> bytes:
    return line("BOOKMARK", {"kind": "ConfigMap", "metadata": {"resourceVersion": str(version)}})


GONE = line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"})


class FakeApi:
    """Stands in for a Client. `lists` are answered in turn; each watch plays its script, then stays open.

    A list or a step of a script that is an exception is raised; an `END` ends the watch.
    """

    END = object()

    def __init__(self, lists: list[Any], watches: list[list[Any]]) -> None:
        self._lists, self._watches = list(lists), list(watches)
        self.watched_from: list[str] = []
        self.resources: list[Resource] = []

    async def list_raw(self, selection: Selection, *, timeout: float | None = None) -> RawListing:
        self.resources.append(selection.resource)
        answer = self._lists.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        version, items = answer
        return RawListing(items, str(version))

    async def pages(self, selection: Selection, *, timeout: float | None = None) -> AsyncIterator[Page]:
        listing = await self.list_raw(selection)
        yield Page(listing.items, listing.resource_version, first=True)

    async def watch_raw(self, selection: Selection, resource_version: str) -> AsyncIterator[RawEvent]:
        self.watched_from.append(resource_version)
        for step in self._watches.pop(0) if self._watches else ():
            if step is self.END:
                return
            if isinstance(step, BaseException):
                raise step
            yield parse_line(step)
        await asyncio.Event().wait()
