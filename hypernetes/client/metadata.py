"""Follows the metadata of all objects of all kinds and tenants, by one list and watch (`/tenants/*/metadata`)."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from hypernetes.api import scheme
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.object import Object
from hypernetes.api.scheme import Resource
from hypernetes.client.informer import Following
from hypernetes.client.keys import Key, key_of_metadata
from hypernetes.client.rest import AllMetadata, Client

_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")


class PartialObject(Object):
    """An object of any kind of which only the metadata matter."""

    KIND = "PartialObjectMetadata"

    metadata: ObjectMeta = ObjectMeta()


class Item(NamedTuple):
    """Names an object of any kind."""

    resource: Resource
    key: Key

    def __str__(self) -> str:
        return f"{self.resource.group_resource} {self.key}"


class MetadataInformer(Following[PartialObject, Item]):
    """Labels and annotations are left out."""

    def __init__(
        self, client: Client, indexes: Mapping[str, Callable[[Any], Iterable[str]]],
        accepts: Callable[[Item], bool] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(client, AllMetadata(), PartialObject, indexes, accepts)
        self._kinds: dict[tuple[str, str], Resource] = {}

    def kind(self, api_version: str, kind: str) -> Resource | None:
        """None for a kind of which nothing has been seen yet."""
        return self._kinds.get((api_version, kind))

    def _key(self, fields: Mapping[str, Any]) -> Item:
        key = key_of_metadata(fields["metadata"], "")
        api_version, kind = fields["apiVersion"], fields["kind"]
        resource = _resource(api_version, kind, fields["resource"], namespaced=bool(key.namespace))
        self._kinds[api_version, kind] = resource
        return Item(resource, key)


@cache
def _resource(api_version: str, kind: str, plural: str, *, namespaced: bool) -> Resource:
    """One of a kind that tenants have defined is made up: its path is all that is needed."""
    try:
        return scheme.by_name(api_version, plural).stored
    except KeyError:
        group, _, version = api_version.rpartition("/")
        return Resource(group, version, plural, kind, "", namespaced=namespaced, verbs=_VERBS)
