"""Nobody grants what they don't have: a role or binding may be written by who holds all that it gives.

Exceptions, as upstream: the verb `escalate` on the role that is written, `bind` on the role that is bound.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from hypernetes.apiserver.authn.users import MASTERS_GROUP, User
from hypernetes.apiserver.authz.attributes import Attributes
from hypernetes.apiserver.authz.authorizer import Authorizer
from hypernetes.apiserver.authz.defaultroles import CLUSTER_ROLES, RBAC_GROUP
from hypernetes.apiserver.authz.policyrules import ANY, PolicyRule, rules_from, uncovered

_EVERYTHING = (PolicyRule((ANY,), (ANY,), (ANY,)), PolicyRule((ANY,), non_resource_urls=(ANY,)))
_MOST_SHOWN = 20  # permissions that a refusal lists


class NoSuchRole(Exception):
    """The role that is to be bound isn't there, so nobody can tell what it gives."""


def of_role(
    authorizer: Authorizer, user: User, tenant: str, role: Mapping[str, Any], old: Mapping[str, Any] | None
) -> str:
    """Why the user may not write this Role or ClusterRole; "" where they may. `old` None: it is new."""
    if old is not None and all(role.get(key) == old.get(key) for key in ("rules", "aggregationRule")):
        return ""
    name, namespace = role["metadata"]["name"], role["metadata"].get("namespace") or ""
    if _may(authorizer, user, tenant, "escalate", "roles" if namespace else CLUSTER_ROLES, namespace, name):
        return ""
    if role.get("aggregationRule") and _excess(authorizer, user, tenant, namespace, _EVERYTHING):
        return "must have cluster-admin privileges to use an aggregationRule"
    return _refusal(user, _excess(authorizer, user, tenant, namespace, rules_from(role.get("rules"))))


def of_binding(
    authorizer: Authorizer, user: User, tenant: str, binding: Mapping[str, Any], old: Mapping[str, Any] | None
) -> str:
    """Why the user may not write this binding; "" where they may. Raises NoSuchRole."""
    if old is not None and all((binding.get(key) or []) == (old.get(key) or []) for key in ("roleRef", "subjects")):
        return ""
    namespace, reference = binding["metadata"].get("namespace") or "", binding["roleRef"]
    of_namespace = reference["kind"] == "Role"
    resource = "roles" if of_namespace else CLUSTER_ROLES
    if _may(authorizer, user, tenant, "bind", resource, namespace, reference["name"]):
        return ""
    rules = authorizer.policy(tenant).role_rules((namespace if of_namespace else "", reference["name"]))
    if rules is None:
        raise NoSuchRole(reference["name"])
    return _refusal(user, _excess(authorizer, user, tenant, namespace, rules))


def _may(authorizer: Authorizer, user: User, tenant: str, verb: str, resource: str, namespace: str, name: str) -> bool:
    asked = Attributes(tenant, verb, RBAC_GROUP, resource, namespace=namespace, name=name)
    return authorizer.authorize(user, asked).allowed


def _excess(
    authorizer: Authorizer, user: User, tenant: str, namespace: str, rules: Iterable[PolicyRule]
) -> list[PolicyRule]:
    """What of `rules` the user doesn't hold in the tenant."""
    if user.tenant != tenant:
        return list(rules)
    if MASTERS_GROUP in user.groups:
        return []
    return uncovered(authorizer.policy(tenant).rules_of(user, namespace), rules)


def _refusal(user: User, excess: list[PolicyRule]) -> str:
    if not excess:
        return ""
    shown = "\n".join(str(rule.to_dict()) for rule in excess[:_MOST_SHOWN])
    more = f"\nand {len(excess) - _MOST_SHOWN} more" if len(excess) > _MOST_SHOWN else ""
    groups = " ".join(user.groups)
    return (
        f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n'
        f"{shown}{more}"
    )
