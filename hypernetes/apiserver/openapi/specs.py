"""The OpenAPI documents of one set of resources; each is made when first asked for."""

from functools import cache
from typing import Any

from hypernetes.apiserver import discovery
from hypernetes.apiserver.discovery import Discovery
from hypernetes.apiserver.documents import Document
from hypernetes.apiserver.openapi import gnostic, schemas
from hypernetes.apiserver.openapi.paths import Paths

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"  # as clients ask for it
V2_PROTOBUF_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"  # a media type can hold no "@"


class OpenAPI:
    def __init__(self, resources: Discovery) -> None:
        self._resources = resources
        self._v3: dict[tuple[str, str], Document] = {}
        self._v2: Document | None = None
        self._v2_protobuf: Document | None = None

    def index(self, prefix: str = "") -> Document:
        """`/openapi/v3`; `prefix` is the tenant's root where the request's path had one (`/tenants/acme`)."""
        paths = {}
        for group, version in self._resources.group_versions():
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            document = self.group(group, version)
            if document is not None:
                paths[path] = {"serverRelativeURL": f"{prefix}/openapi/v3/{path}?hash={document.hash}"}
        return Document.of({"paths": paths})

    def group(self, group: str, version: str) -> Document | None:
        """`/openapi/v3/apis/<group>/<version>` or `/openapi/v3/api/<version>` (group ""); None where there is none."""
        if (group, version) not in self._v3:
            resources = self._resources.resources(group, version)
            if not resources:
                return None
            made, paths = Paths(v3=True), dict[str, Any]()
            for resource in resources:
                paths.update(made.of(resource))
            components = {"schemas": schemas.schemas(resources, v3=True)}
            value = {"openapi": "3.0.0", "info": _info(), "paths": paths, "components": components}
            self._v3[group, version] = Document.of(value)
        return self._v3[group, version]

    def v2(self) -> Document:
        """`/openapi/v2` as JSON."""
        if self._v2 is None:
            self._v2 = Document.of(self.v2_spec())
        return self._v2

    def v2_protobuf(self) -> Document:
        """`/openapi/v2` in protobuf."""
        if self._v2_protobuf is None:
            self._v2_protobuf = Document.of_bytes(gnostic.document(self.v2_spec()), V2_PROTOBUF_TYPE)
        return self._v2_protobuf

    def v2_spec(self) -> dict[str, Any]:
        """What `/openapi/v2` says."""
        resources = [each for gv in self._resources.group_versions() for each in self._resources.resources(*gv)]
        made, paths = Paths(v3=False), dict[str, Any]()
        for resource in resources:
            paths.update(made.of(resource))
        definitions = schemas.schemas(resources, v3=False)
        return {"swagger": "2.0", "info": _info(), "paths": paths, "definitions": definitions}


@cache
def of(resources: Discovery) -> OpenAPI:
    """The documents of what a discovery offers: there are two, the provider's and a tenant's."""
    return OpenAPI(resources)


def _info() -> dict[str, str]:
    return {"title": "Hypernetes", "version": discovery.version()["gitVersion"]}
