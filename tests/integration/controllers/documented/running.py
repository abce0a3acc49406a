"""How a case asks and waits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.client import Client
from tests.integration.controllers.hollow_cluster import TENANT

Json = dict[str, Any]
_SECONDS = 120.0  # generous: all cases wait for one another's processor
_MERGE = "application/merge-patch+json"
_VERSIONS = {resource.name: resource.api_version for resource in reversed(list(scheme.served()))} | {
    "horizontalpodautoscalers": "autoscaling/v2", "events": "v1", "pods": "v1", "nodes": "v1",
}  # fmt: skip


class Case:
    """A tenant's user in one namespace."""

    def __init__(self, client: Client, namespace: str, tenant: str = TENANT) -> None:
        self.client, self.namespace, self.tenant = client, namespace, tenant
        self.seen: Json = {}  # the status that was last looked at

    def path(self, what: str) -> str:
        """Of `pods`, `pods/a` or `pods/a/status`."""
        name, *rest = what.split("/")
        resource = scheme.by_name(_VERSIONS[name], name)
        return "/".join((resource.path(self.tenant, self.namespace if resource.namespaced else None), *rest))

    async def get(self, what: str) -> Json:
        return await self.client.request("GET", self.path(what))

    async def list(self, what: str, **labels: str) -> list[Json]:
        params = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())} if labels else None
        items: list[Json] = (await self.client.request("GET", self.path(what), params=params))["items"]
        return items

    async def create(self, what: str, name: str, spec: Json | None = None, **parts: Any) -> Json:
        metadata = {"name": name, **parts.pop("metadata", {})}
        body = {"metadata": metadata, **({} if spec is None else {"spec": spec}), **parts}
        return await self.client.request("POST", self.path(what), json=body)

    async def patch(self, what: str, body: Json) -> Json:
        return await self.client.request("PATCH", self.path(what), json=body, content_type=_MERGE)

    async def delete(self, what: str, **options: Any) -> None:
        await self.client.request("DELETE", self.path(what), json=options or None)

    async def code(self, asking: Awaitable[Any]) -> int:
        """Of the answer."""
        try:
            await asking
        except StatusError as error:
            return error.code
        return 200

    async def until(self, look: Callable[[], Awaitable[Any]]) -> Any:
        """What it gives once that is true."""
        found: Any = None
        try:
            async with asyncio.timeout(_SECONDS):
                while True:
                    try:
                        if found := await look():
                            return found
                    except StatusError as error:
                        if error.reason != "NotFound":
                            raise
                    await asyncio.sleep(0.25)
        except TimeoutError:
            raise AssertionError(f"{self.namespace}: didn't happen; it last was {found}") from None

    async def status(self, what: str, **wanted: Any) -> Json:
        """The object once its status has these."""

        async def look() -> Json | None:
            found = await self.get(what)
            status = found.get("status", {})
            self.seen = status
            return found if all(status.get(key, 0) == value for key, value in wanted.items()) else None

        try:
            found: Json = await self.until(look)
        except AssertionError as error:
            raise AssertionError(f"{error}; wanted {wanted}, is {self.seen}") from None
        return found

    async def condition(self, what: str, type: str, status: str, reason: str = "") -> Json:
        """The condition once it says so."""

        async def look() -> Json | None:
            for entry in (await self.get(what)).get("status", {}).get("conditions", []):
                if (entry["type"], entry["status"]) == (type, status) and reason in ("", entry.get("reason")):
                    return dict(entry)
            return None

        found: Json = await self.until(look)
        return found

    async def gone(self, what: str) -> None:
        async def look() -> bool:
            return await self.code(self.get(what)) == 404

        await self.until(look)

    async def provided(self, what: str, count: int) -> bool:
        """Whether the provider has so many."""
        return len(await Case(self.client, "", "system").list(what)) >= count

    async def images(self, **labels: str) -> dict[str, int]:
        """Of pods that aren't on their way out, counted."""
        found: dict[str, int] = {}
        for pod in await self.list("pods", **labels):
            if "deletionTimestamp" not in pod["metadata"]:
                image = pod["spec"]["containers"][0]["image"]
                found[image] = found.get(image, 0) + 1
        return found


def template(app: str, image: str = "app:1", *args: str, ready: bool = True, **spec: Any) -> Json:
    """Of pods that run until they are told to stop. `ready` False: their containers fail at once, again and again."""
    command = ["hollow"] if ready else ["false"]
    container = {"name": "main", "image": image, "command": command, "args": list(args)}
    given = {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"metadata": {"labels": {"app": app}}, "spec": {**given, **spec}}


def workload(app: str, replicas: int | None, image: str = "app:1", *, ready: bool = True, **more: Any) -> Json:
    sized = {} if replicas is None else {"replicas": replicas}
    return {
        **sized, "selector": {"matchLabels": {"app": app}}, "template": template(app, image, ready=ready), **more,
    }  # fmt: skip


def rolled(image: str, *, ready: bool = True) -> Json:
    """A patch to another image."""
    command = ["hollow"] if ready else ["false"]
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image, "command": command}]}}}}
