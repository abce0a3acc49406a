"""Discovery and OpenAPI of a tenant whose API others extend: the built-in documents, and what is offered (pure)."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson

from hypernetes.api.status import StatusError
from hypernetes.apiserver import openapi
from hypernetes.apiserver.aggregation.offers import Offer, Row
from hypernetes.apiserver.discovery import AGGREGATED, AggregatedForm, Discovery
from hypernetes.apiserver.documents import Document
from hypernetes.apiserver.openapi import gnostic

Object = dict[str, Any]


def unavailable() -> StatusError:
    return StatusError("ServiceUnavailable", "the server is currently unable to handle the request")


class Extended:
    """The documents of one set of offers. Groups that are offered come after the built-in ones, so that no name of
    theirs stands before one of these."""

    def __init__(self, built_in: Discovery, offers: Sequence[Offer]) -> None:
        self.built_in = built_in
        self._groups: dict[str, list[Offer]] = {}
        for offer in sorted(offers, key=_position):
            self._groups.setdefault(offer.registered.group, []).append(offer)
        self._aggregated: dict[AggregatedForm, Document] = {}
        self._v2: dict[bool, Document] = {}

    # discovery, as of the built-in Discovery

    def api_versions(self, address: str) -> Object:
        return self.built_in.api_versions(address)

    def group_list(self) -> Object:
        listed = self.built_in.group_list()
        return {**listed, "groups": [*listed["groups"], *map(self._group, self._groups)]}

    def group(self, name: str) -> Object | None:
        if name not in self._groups:
            return self.built_in.group(name)
        return {"kind": "APIGroup", "apiVersion": "v1", **self._group(name)}

    def resource_list(self, group: str, version: str) -> Object | None:
        """Raises StatusError 503 while the version's server can't be used."""
        offer = self._offer(group, version)
        if offer is None:
            return self.built_in.resource_list(group, version)
        if not offer.verdict.available:
            raise unavailable()
        head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}"}
        return {**head, "resources": list(offer.rows)}

    def aggregated(self, core: bool, form: AggregatedForm = AGGREGATED) -> Document:
        if core:
            return self.built_in.aggregated(core, form)
        if form not in self._aggregated:
            value = self.built_in.aggregated_groups(core, form)
            value["items"] = [*value["items"], *map(self._aggregated_group, self._groups)]
            self._aggregated[form] = self.built_in.aggregated_document(value, form)
        return self._aggregated[form]

    def _offer(self, group: str, version: str) -> Offer | None:
        return next((each for each in self._groups.get(group, ()) if each.registered.version == version), None)

    def _group(self, name: str) -> Object:
        versions = [
            {"groupVersion": f"{name}/{each.registered.version}", "version": each.registered.version}
            for each in self._groups[name]
        ]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def _aggregated_group(self, name: str) -> Object:
        versions = [
            {
                "version": each.registered.version, "resources": aggregated_rows(each.rows),
                "freshness": "Current" if each.verdict.available else "Stale",
            }
            for each in self._groups[name]
        ]  # fmt: skip
        return {"metadata": {"name": name}, "versions": versions}

    # OpenAPI

    def openapi_index(self, prefix: str) -> Document:
        """`/openapi/v3`"""
        if not self._groups:
            return openapi.of(self.built_in).index(prefix)
        index = orjson.loads(openapi.of(self.built_in).index(prefix).body)
        for offers in self._groups.values():
            for offer in offers:
                if offer.openapi is not None and offer.verdict.available:
                    path = offer.registered.prefix[1:]
                    url = f"{prefix}/openapi/v3/{path}?hash={offer.openapi.hash}"
                    index["paths"][path] = {"serverRelativeURL": url}
        return Document.of(index)

    def openapi_group(self, group: str, version: str) -> Document | None:
        """`/openapi/v3/apis/<group>/<version>`"""
        offer = self._offer(group, version)
        return openapi.of(self.built_in).group(group, version) if offer is None else offer.openapi

    async def openapi_v2(self, in_protobuf: bool) -> Document:
        """`/openapi/v2`; made in a thread, since it is large."""
        more = [
            each.definitions
            for offers in self._groups.values()
            for each in offers
            if each.definitions and each.verdict.available
        ]
        built_in = openapi.of(self.built_in)
        if not more:
            return built_in.v2_protobuf() if in_protobuf else built_in.v2()
        if in_protobuf not in self._v2:
            spec = merged(built_in.v2_spec(), more)
            self._v2[in_protobuf] = await asyncio.to_thread(_v2_document, spec, in_protobuf)
        return self._v2[in_protobuf]


def merged(spec: Object, more: Sequence[Object]) -> Object:
    """A v2 document with the paths and definitions of others; of two of one name ours, or the first, stays."""
    paths, definitions = dict(spec["paths"]), dict(spec["definitions"])
    for each in more:
        paths = {**each["paths"], **paths}
        definitions = {**each["definitions"], **definitions}
    return {**spec, "paths": paths, "definitions": definitions}


def _v2_document(spec: Object, in_protobuf: bool) -> Document:
    if in_protobuf:
        return Document.of_bytes(gnostic.document(spec), openapi.V2_PROTOBUF_TYPE)
    return Document.of(spec)


def aggregated_rows(rows: Sequence[Row]) -> list[Object]:
    """Of the aggregated document. A subresource whose resource isn't there gets an entry for it that says no more."""
    found: dict[str, Object] = {}
    for row in sorted(rows, key=lambda row: ("/" in row["name"], row["name"])):
        name, _, subresource = row["name"].partition("/")
        kind = {"group": row.get("group", ""), "version": row.get("version", ""), "kind": row["kind"]}
        scope = "Namespaced" if row["namespaced"] else "Cluster"
        if not subresource:
            words: Object = {key: row[key] for key in ("shortNames", "categories") if key in row}
            found[name] = {
                "resource": name, "responseKind": kind, "scope": scope, "singularResource": row["singularName"],
                "verbs": row["verbs"], **words,
            }  # fmt: skip
            continue
        empty = {"resource": name, "scope": scope, "singularResource": "", "verbs": []}
        owner = found.setdefault(name, empty)
        said = {"subresource": subresource, "verbs": row["verbs"], "responseKind": kind}
        owner.setdefault("subresources", []).append(said)
    return list(found.values())


def _position(offer: Offer) -> tuple[Any, ...]:
    """Groups and versions of the highest priority first; of one group the highest of its versions' counts."""
    registered = offer.registered
    return -registered.group_priority, registered.group, -registered.version_priority, registered.version
