"""An authorizer over a few objects, and the objects to put into it."""

from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.apiserver.authn import User
from hypernetes.apiserver.authz import Attributes, Authorizer, NodeGraph, Rbac, defaultroles
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.storage.base import Change, Item

Object = dict[str, Any]

KEYS = Keys("c")
RBAC = defaultroles.RBAC_GROUP


class Cluster:
    """A mirror with the default roles in it; `put` and `remove` change it as a follower does."""

    def __init__(self) -> None:
        self.mirror = Mirror(KEYS)
        self.rbac, self.graph = Rbac(self.mirror), NodeGraph(self.mirror)
        self.authorizer = Authorizer(self.rbac, self.graph)
        items = []
        for resource, obj in defaultroles.objects():
            key = KEYS.of(scheme.by_name(f"{RBAC}/v1", resource), "system", "", obj["metadata"]["name"])
            items.append(Item(key, orjson.dumps(obj), 1))
        self.mirror.load(items, 1)

    def put(self, tenant: str, *objects: Object) -> None:
        for obj in objects:
            self._apply(tenant, obj, orjson.dumps(obj))

    def remove(self, tenant: str, obj: Object) -> None:
        self._apply(tenant, obj, None)

    def _apply(self, tenant: str, obj: Object, data: bytes | None) -> None:
        resource = scheme.by_kind(obj["apiVersion"], obj["kind"])
        metadata = obj["metadata"]
        key = KEYS.of(resource, tenant, metadata.get("namespace", ""), metadata["name"])
        events = self.mirror.apply([Change(key, self.mirror.revision + 1, data, None)])
        self.rbac.observe(events)
        self.graph.observe(events)

    def allows(self, user: User, asked: Attributes) -> bool:
        return self.authorizer.authorize(user, asked).allowed


def user(name: str, *groups: str, tenant: str = "acme", component: bool = False) -> User:
    return User(name, (*groups, "system:authenticated"), tenant, "uid", component=component)


def ask(
    tenant: str, verb: str, what: str, *, group: str = "", namespace: str = "", name: str = "", fields: str = ""
) -> Attributes:
    if what.startswith("/"):
        return Attributes(tenant, verb, path=what)
    resource, _, subresource = what.partition("/")
    return Attributes(tenant, verb, group, resource, subresource, namespace, name, field_selector=fields)


def rule(verbs: str, resources: str, groups: str = "", *names: str) -> Object:
    return {
        "verbs": verbs.split(), "apiGroups": groups.split() or [""], "resources": resources.split(),
        **({"resourceNames": list(names)} if names else {}),
    }  # fmt: skip


def role(name: str, *rules: Object, namespace: str = "", **labels: str) -> Object:
    metadata = {"name": name, "labels": {key.replace("_", "-"): value for key, value in labels.items()}}
    if namespace:
        metadata["namespace"] = namespace
    kind = "Role" if namespace else "ClusterRole"
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, "rules": list(rules)}


def binding(name: str, to: str, *subjects: Object, namespace: str = "", cluster_role: bool = False) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    kind = "ClusterRole" if cluster_role or not namespace else "Role"
    return {
        "apiVersion": f"{RBAC}/v1", "kind": "RoleBinding" if namespace else "ClusterRoleBinding", "metadata": metadata,
        "subjects": list(subjects), "roleRef": {"apiGroup": RBAC, "kind": kind, "name": to},
    }  # fmt: skip


def named(name: str, kind: str = "User", namespace: str = "") -> Object:
    return {"kind": kind, "name": name, **({"namespace": namespace} if namespace else {"apiGroup": RBAC})}
