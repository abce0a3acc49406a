"""Discovery: which groups, versions and resources there are, in the old documents and the aggregated one.

Built from rows of the scheme, so that a tenant's own set (custom resources) is another instance of the same class.
"""

import base64
import hashlib
import platform
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.api.scheme import Resource, Subresource
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import protobuf
from hypernetes.apiserver.authz import may_ever
from hypernetes.apiserver.documents import JSON, Document

KUBERNETES_MAJOR, KUBERNETES_MINOR = "1", "36"  # the API that facts/ describes
_AGGREGATED_VERSIONS = ("v2", "v2beta1")
# Where two groups have a kind of one name, clients take that of the former: upstream's order, others follow by name.
_GROUP_ORDER = {
    name: position
    for position, name in enumerate(
        (
            "", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
            "autoscaling", "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io",
            "storage.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io",
            "coordination.k8s.io", "node.k8s.io", "discovery.k8s.io", "flowcontrol.apiserver.k8s.io",
        )
    )
}  # fmt: skip
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class AggregatedForm:
    """Of the aggregated document: `apidiscovery.k8s.io/<version>`."""

    version: str = "v2"
    media_type: str = JSON


AGGREGATED = AggregatedForm()


class Discovery:
    """The discovery documents of one set of resources."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        # group -> version, the preferred one first -> resources by name
        self._groups: dict[str, dict[str, list[Resource]]] = {}
        for resource in sorted(resources, key=_position):
            self._groups.setdefault(resource.group, {}).setdefault(resource.version, []).append(resource)
        self._aggregated: dict[tuple[bool, AggregatedForm], Document] = {}

    def api_versions(self, address: str) -> dict[str, Any]:
        """`/api`; `address` is the host and port by which clients reach the server."""
        return {
            "kind": "APIVersions", "versions": list(self._groups.get("", {})),
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        }  # fmt: skip

    def group_list(self) -> dict[str, Any]:
        """`/apis`"""
        groups = [self._group(name) for name in self._groups if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def group(self, name: str) -> dict[str, Any] | None:
        """`/apis/<group>`; None where there is no such group."""
        return {"kind": "APIGroup", "apiVersion": "v1", **self._group(name)} if name and name in self._groups else None

    def resource_list(self, group: str, version: str) -> dict[str, Any] | None:
        """`/api/<version>` (group "") or `/apis/<group>/<version>`; None where there is no such version."""
        found = self._groups.get(group, {}).get(version)
        if found is None:
            return None
        rows = sorted((row for resource in found for row in _rows(resource)), key=lambda row: row["name"])
        # upstream's list of the core group says no apiVersion
        head = {"kind": "APIResourceList", **({"apiVersion": "v1"} if group else {})}
        return {**head, "groupVersion": found[0].api_version, "resources": rows}

    def aggregated(self, core: bool, form: AggregatedForm = AGGREGATED) -> Document:
        """All of `/api` (core) or `/apis` in one document."""
        if (core, form) not in self._aggregated:
            self._aggregated[core, form] = self.aggregated_document(self.aggregated_groups(core, form), form)
        return self._aggregated[core, form]

    def aggregated_groups(self, core: bool, form: AggregatedForm) -> dict[str, Any]:
        """What the aggregated document says."""
        names = [name for name in self._groups if (name == "") is core]
        return {
            "kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{form.version}", "metadata": {},
            "items": [self._aggregated_group(name) for name in names],
        }  # fmt: skip

    @staticmethod
    def aggregated_document(value: dict[str, Any], form: AggregatedForm) -> Document:
        media = f"{form.media_type};g=apidiscovery.k8s.io;v={form.version};as=APIGroupDiscoveryList"
        encode = protobuf.encode if form.media_type == protobuf.MEDIA_TYPE else orjson.dumps
        return Document.of_bytes(encode(value), media)

    def group_versions(self) -> list[tuple[str, str]]:
        return [(group, version) for group in self._groups for version in self._groups[group]]

    def resources(self, group: str, version: str) -> list[Resource]:
        return self._groups.get(group, {}).get(version, [])

    def _group(self, name: str) -> dict[str, Any]:
        versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in self._groups[name]]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def _aggregated_group(self, name: str) -> dict[str, Any]:
        versions = [
            {"version": version, "resources": [_aggregated(resource) for resource in found], "freshness": "Current"}
            for version, found in self._groups[name].items()
        ]
        return {"metadata": {"name": name} if name else {}, "versions": versions}


def _position(resource: Resource) -> tuple[int, str, int, str]:
    """Groups in their order, the newest version of each first, resources by name.

    No group has a beta beside a stable version.
    """
    order = _GROUP_ORDER.get(resource.group, len(_GROUP_ORDER))
    return order, resource.group, -int(resource.version.removeprefix("v").partition("beta")[0]), resource.name


@cache
def built_in() -> Discovery:
    """The discovery of the resources that the scheme serves."""
    return Discovery(scheme.served())


@cache
def of_tenants() -> Discovery:
    """The discovery of what a tenant may use: nothing that is the provider's alone, no verb that it never has."""
    return Discovery(offered for resource in scheme.served() if (offered := _offered(resource)) is not None)


def for_tenant(tenant: str | None) -> Discovery:
    """The discovery at a tenant's root; None is that of all tenants."""
    return built_in() if tenant in (None, SYSTEM_TENANT) else of_tenants()


def _offered(resource: Resource) -> Resource | None:
    def allowed(verbs: Iterable[str], subresource: str = "") -> tuple[str, ...]:
        return tuple(verb for verb in verbs if may_ever(verb, resource.group, resource.name, subresource))

    verbs = allowed(resource.verbs)
    if not verbs:
        return None
    subresources = {
        name: replace(each, verbs=left)
        for name, each in resource.subresources.items()
        if (left := allowed(each.verbs, name))
    }
    return replace(resource, verbs=verbs, subresources=subresources)


def aggregated_form(accept: str | None) -> AggregatedForm | None:
    """The form of the aggregated document that a client asks for first, None for the old documents."""
    for entry in (accept or "").split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        asked = dict(parameter.partition("=")[::2] for parameter in parameters)
        if media not in ("application/json", "*/*", "application/*", protobuf.MEDIA_TYPE):
            continue
        if asked.get("g") != "apidiscovery.k8s.io" or asked.get("as") != "APIGroupDiscoveryList":
            return None
        if media == protobuf.MEDIA_TYPE and asked.get("v") == "v2":  # the other version has no message
            return AggregatedForm("v2", media)
        if media != protobuf.MEDIA_TYPE and asked.get("v") in _AGGREGATED_VERSIONS:
            return AggregatedForm(asked["v"])
    return None


@cache
def version() -> dict[str, str]:
    """`/version`: the Kubernetes version that clients adapt to, with ours as build metadata."""
    machine = platform.machine()
    return {
        "major": KUBERNETES_MAJOR, "minor": KUBERNETES_MINOR,
        "gitVersion": f"v{KUBERNETES_MAJOR}.{KUBERNETES_MINOR}.0+hypernetes.{metadata.version('hypernetes')}",
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}", "compiler": platform.python_implementation().lower(),
        "platform": f"{platform.system().lower()}/{_MACHINES.get(machine, machine)}",
    }  # fmt: skip


def _rows(resource: Resource) -> list[dict[str, Any]]:
    row: dict[str, Any] = {
        "name": resource.name, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": list(resource.verbs), **_optional(resource), **_storage_version(resource),
    }  # fmt: skip
    return [row, *(_subresource_row(resource, each) for _, each in sorted(resource.subresources.items()))]


def _subresource_row(resource: Resource, subresource: Subresource) -> dict[str, Any]:
    return {
        "name": f"{resource.name}/{subresource.name}", "singularName": "", "namespaced": resource.namespaced,
        **_other_group(subresource), "kind": subresource.kind, "verbs": list(subresource.verbs),
    }  # fmt: skip


def _optional(resource: Resource) -> dict[str, Any]:
    optional = {"shortNames": list(resource.short_names), "categories": list(resource.categories)}
    return {key: value for key, value in optional.items() if value}


def _storage_version(resource: Resource) -> dict[str, str]:
    """What changes when objects begin to be stored as another kind or version; computed as upstream does."""
    if not resource.is_stored:
        return {}
    stored = resource.stored
    digest = hashlib.sha256(f"{stored.group}/{stored.version}/{stored.kind}".encode()).digest()
    return {"storageVersionHash": base64.b64encode(digest[:8]).decode()}


def _other_group(subresource: Subresource) -> dict[str, str]:
    return {"group": subresource.group, "version": subresource.version} if subresource.version else {}


def _aggregated(resource: Resource) -> dict[str, Any]:
    subresources = [
        {
            "subresource": each.name, "verbs": list(each.verbs),
            "responseKind": {"group": each.group, "version": each.version, "kind": each.kind},
        }
        for _, each in sorted(resource.subresources.items())
    ]  # fmt: skip
    return {
        "resource": resource.name, "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster", "singularResource": resource.singular,
        "verbs": list(resource.verbs), **_optional(resource),
        **({"subresources": subresources} if subresources else {}),
    }  # fmt: skip
