"""Emptying a namespace: everything in it is deleted, and what is left is counted until nothing is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypernetes.api import scheme
from hypernetes.api.scheme import Resource
from hypernetes.client import Client
from hypernetes.client.errors import REQUEST_ERRORS
from hypernetes.client.rest import Selection, delete_options


@dataclass(slots=True)
class Remains:
    """What is still there, by resource, and what couldn't be done."""

    counts: dict[str, int] = field(default_factory=dict)  # group resource -> objects
    finalizers: dict[str, int] = field(default_factory=dict)  # finalizer -> objects that have it
    errors: list[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        return not self.counts and not self.errors

    def content_message(self) -> str:
        parts = [f"{name} has {number} resource instances" for name, number in sorted(self.counts.items())]
        return "Some resources are remaining: " + ", ".join(parts)

    def finalizer_message(self) -> str:
        parts = [f"{name} in {number} resource instances" for name, number in sorted(self.finalizers.items())]
        return "Some content in the namespace has finalizers remaining: " + ", ".join(parts)


def deletable(*, namespaced: bool) -> list[Resource]:
    """Every resource once: second names of the same objects left out."""
    return [
        resource
        for resource in scheme.served()
        if resource.namespaced is namespaced
        and resource.stored is resource
        and not resource.shared
        and {"list", "deletecollection"} <= set(resource.verbs)
    ]


async def empty(client: Client, tenant: str, namespace: str | None, resources: Iterable[Resource]) -> Remains:
    """Deletes all objects of these resources; returns what is still there afterwards (terminating pods, finalizers)."""
    remains = Remains()
    for resource in resources:
        try:
            await client.request("DELETE", resource.path(tenant, namespace), json=delete_options())
            selection = Selection(resource, tenant, namespace, metadata_only=True)
            add(remains, resource, (await client.list_raw(selection)).items)
        except REQUEST_ERRORS as error:
            remains.errors.append(f"{resource.group_resource}: {error}")
    return remains


def add(remains: Remains, resource: Resource, items: Sequence[Mapping[str, Any]]) -> None:
    if items:
        remains.counts[f"{resource.name}.{resource.group}"] = len(items)
    for item in items:
        for finalizer in item["metadata"].get("finalizers") or ():
            remains.finalizers[finalizer] = remains.finalizers.get(finalizer, 0) + 1
