"""Emptying a namespace: everything in it is deleted, and what is left is counted until nothing is.

What there is, the stream of all metadata tells. Events aren't in it, and a cache proves no absence: so when nothing is
left that it knows of, every kind is emptied and listed once at the server.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hypernetes.api import scheme
from hypernetes.api.scheme import Resource
from hypernetes.client import Client
from hypernetes.client.errors import REQUEST_ERRORS
from hypernetes.client.keys import Key
from hypernetes.client.metadata import Item, PartialObject
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

    def count(self, resource: Resource, finalizers: Iterable[str]) -> None:
        name = f"{resource.name}.{resource.group}"
        self.counts[name] = self.counts.get(name, 0) + 1
        for finalizer in finalizers:
            self.finalizers[finalizer] = self.finalizers.get(finalizer, 0) + 1

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


async def delete_known(client: Client, key: Key, known: Sequence[tuple[Item, PartialObject]]) -> Remains:
    """Deletes what of a namespace is known and not on its way out yet; returns what is known."""
    remains, staying = Remains(), set()
    for item, obj in known:
        remains.count(item.resource, obj.metadata.finalizers)
        if obj.metadata.deletion_timestamp is None:
            staying.add(item.resource)
    for resource in sorted(staying, key=lambda resource: resource.group_resource):
        if "deletecollection" in resource.verbs:
            try:
                await client.request("DELETE", resource.path(key.tenant, key.name), json=delete_options())
            except REQUEST_ERRORS as error:
                remains.errors.append(f"{resource.group_resource}: {error}")
    return remains


async def empty(client: Client, tenant: str, namespace: str | None, resources: Iterable[Resource]) -> Remains:
    """Deletes all objects of these resources; returns what is still there afterwards (terminating pods, finalizers)."""
    remains = Remains()
    for resource in resources:
        try:
            await client.request("DELETE", resource.path(tenant, namespace), json=delete_options())
            selection = Selection(resource, tenant, namespace, metadata_only=True)
            for item in (await client.list_raw(selection)).items:
                remains.count(resource, item["metadata"].get("finalizers") or ())
        except REQUEST_ERRORS as error:
            remains.errors.append(f"{resource.group_resource}: {error}")
    return remains
