"""The scheme: which kinds are served, under which resource, in which scope.

Every other module asks here instead of spelling a path, a plural or a scope by hand.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property

from hypernetes.api import facts

# Cluster-scoped kinds of which a tenant sees those of the tenant `system` as well.
SHARED_KINDS = frozenset({"Node"})

# Groups of facts/ that are not served yet: their resources are known, and answer 404.
_NOT_SERVED = frozenset({"admissionregistration.k8s.io", "apiextensions.k8s.io", "flowcontrol.apiserver.k8s.io"})

# Two API versions or groups of the same stored objects: served name -> stored name.
_STORED_AS = {
    ("autoscaling/v1", "horizontalpodautoscalers"): ("autoscaling/v2", "horizontalpodautoscalers"),
    ("v1", "networks"): ("hypernetes.io/v1", "networks"),
    ("events.k8s.io/v1", "events"): ("v1", "events"),
}


@dataclass(frozen=True)
class Resource:
    """One served resource, as one version of its group. What its properties say is made once: each request asks."""

    group: str  # "" for the core group
    version: str
    name: str  # the plural in the URL: "pods"
    kind: str
    singular: str
    namespaced: bool
    verbs: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: dict[str, "Subresource"] = field(default_factory=dict, compare=False, hash=False)

    @cached_property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def prefix(self) -> str:
        """The path below a tenant's root: `/api/v1` or `/apis/apps/v1`."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @cached_property
    def group_resource(self) -> str:
        """How error messages name it: `pods`, `deployments.apps`."""
        return f"{self.name}.{self.group}" if self.group else self.name

    @cached_property
    def stored(self) -> "Resource":
        """The resource under which the objects are stored; itself, except for second names of the same objects."""
        alias = _STORED_AS.get((self.api_version, self.name))
        return self if alias is None else by_name(*alias)

    @property
    def is_stored(self) -> bool:
        """False for what is asked and answered, and kept nowhere: reviews, bindings, the status of components."""
        return "update" in self.verbs

    @property
    def shared(self) -> bool:
        return self.kind in SHARED_KINDS

    def path(
        self, tenant: str | None, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """The request path; `tenant` "*" lists or watches across tenants, None is the credential's own tenant."""
        parts = ["" if tenant is None else f"/tenants/{tenant}", self.prefix]
        if namespace and self.namespaced:
            parts.append(f"/namespaces/{namespace}")
        parts.append(f"/{self.name}")
        if name is not None:
            parts.append(f"/{name}")
        if subresource is not None:
            parts.append(f"/{subresource}")
        return "".join(parts)


@dataclass(frozen=True, slots=True)
class Subresource:
    name: str  # "status"
    kind: str  # the kind it takes and gives: "Scale" for deployments/scale
    verbs: tuple[str, ...]
    group: str = ""  # of `kind`, where it differs from the parent's
    version: str = ""


# Subresources whose kind lives in another group than their parent's.
_SUBRESOURCE_KINDS = {
    "eviction": ("policy", "v1"),
    "scale": ("autoscaling", "v1"),
    "token": ("authentication.k8s.io", "v1"),
}


@cache
def _table() -> dict[tuple[str, str], Resource]:
    table: dict[tuple[str, str], Resource] = {}
    rows = facts.resources()
    for row in rows:
        key = (row["groupVersion"], row["name"])
        group, _, version = row["groupVersion"].rpartition("/")
        if "/" not in row["name"] and group not in _NOT_SERVED:
            table[key] = Resource(
                group, version, row["name"], row["kind"], row["singularName"], row["namespaced"],
                tuple(row["verbs"]), tuple(row.get("shortNames", ())), tuple(row.get("categories", ())),
            )  # fmt: skip
    for row in rows:
        parent, _, name = row["name"].partition("/")
        if name and (row["groupVersion"], parent) in table:
            group, version = _SUBRESOURCE_KINDS.get(name, ("", ""))
            owner = table[row["groupVersion"], parent]
            owner.subresources[name] = Subresource(name, row["kind"], tuple(row["verbs"]), group, version)
    return table


def served() -> Iterable[Resource]:
    """All served resources, in a stable order."""
    return _table().values()


@cache
def groups() -> frozenset[str]:
    """The groups that are Kubernetes' and ours, served or not: nobody else's resources are under their names."""
    return frozenset(row["groupVersion"].rpartition("/")[0] for row in facts.resources())


def find(group: str, version: str, name: str) -> Resource | None:
    """The resource behind a URL, or None where it isn't served."""
    return _table().get((f"{group}/{version}" if group else version, name))


def by_name(api_version: str, name: str) -> Resource:
    """The resource with this plural name; KeyError where it isn't served."""
    return _table()[api_version, name]


@cache
def by_kind(api_version: str, kind: str) -> Resource:
    """The resource that serves a kind; KeyError where none does."""
    for resource in served():
        if resource.kind == kind and resource.api_version == api_version and "get" in resource.verbs:
            return resource
    raise KeyError(f"no resource serves {kind} of {api_version}")


@cache
def schema_name(group: str, version: str, kind: str) -> str:
    """The full name of a kind's schema in facts/; KeyError where there is none."""
    wanted = {"group": group, "version": version, "kind": kind}
    for name, schema in facts.schemas().items():
        if wanted in schema.get("x-kubernetes-group-version-kind", ()):
            return name
    raise KeyError(f"no schema of kind {kind} in {group or 'core'}/{version}")
