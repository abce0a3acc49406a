"""Roles and bindings, indexed: who may what in a tenant, from the mirror's objects.

    events ─► Rbac ─► TenantPolicy, one per tenant that somebody asks about
                        roles, bindings ─► by subject ─► one RuleSet per (subject, namespace), made when first asked for

A tenant that nobody asks about costs nothing; the policies longest unused are dropped. A change of a role or binding
drops what was derived in its tenant, and one of a shared object what was derived in all.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from hypernetes.api import scheme, selectors
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.authn.users import User, service_account_name
from hypernetes.apiserver.authz import defaultroles
from hypernetes.apiserver.authz.attributes import Attributes
from hypernetes.apiserver.authz.defaultroles import RBAC_GROUP
from hypernetes.apiserver.authz.policyrules import PolicyRule, RuleSet, rules_from
from hypernetes.apiserver.keys import ObjectKey
from hypernetes.apiserver.mirror import Entry, Event, Mirror

_KEPT_TENANTS = 4096
_KEPT_DECISIONS = 4096  # of one tenant

_KINDS = ("roles", "rolebindings", defaultroles.CLUSTER_ROLES, defaultroles.CLUSTER_ROLE_BINDINGS)

Subject = tuple[str, str]  # ("User", name) or ("Group", name); service accounts are users
RoleName = tuple[str, str]  # (namespace, name); namespace "" for a ClusterRole


@dataclass(frozen=True, slots=True)
class Role:
    rules: tuple[PolicyRule, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    aggregates: tuple[selectors.Selector, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    role: RoleName
    subjects: tuple[Subject, ...]
    namespace: str  # "" for all


class TenantPolicy:
    """What the roles and bindings of one tenant come to. `shared` is the policy of `system`, None for itself."""

    def __init__(self, shared: "TenantPolicy | None") -> None:
        self._shared = shared
        self._roles: dict[RoleName, Role] = {}
        self._bindings: dict[tuple[str, str], Binding] = {}
        self.derive_again()

    def put(self, key: ObjectKey, entry: Entry | None) -> None:
        """Takes in a role or binding as it is now; None: it is gone."""
        where = (key.namespace, key.name)
        if key.resource in ("roles", defaultroles.CLUSTER_ROLES):
            if entry is None:
                self._roles.pop(where, None)
            else:
                self._roles[where] = _role(orjson.loads(entry.data))
        elif entry is None:
            self._bindings.pop(where, None)
        else:
            self._bindings[where] = _binding(orjson.loads(entry.data), key.namespace)
        self.derive_again()

    def derive_again(self) -> None:
        """What was derived from roles and bindings no longer holds."""
        self._by_subject: dict[Subject, dict[str, list[RoleName]]] | None = None
        self._rule_sets: dict[tuple[Subject, str], RuleSet] = {}
        self._sets_of_users: dict[tuple[str, tuple[str, ...], str], tuple[RuleSet, ...]] = {}
        self._decisions: dict[object, bool] = {}

    def allows(self, user: User, asked: Attributes) -> bool:
        known = (user.name, user.groups, asked)
        decision = self._decisions.get(known)
        if decision is None:
            decision = any(rules.allows(asked) for rules in self._rule_sets_of(user, asked.namespace))
            if len(self._decisions) >= _KEPT_DECISIONS:
                self._decisions.clear()
            self._decisions[known] = decision
        return decision

    def rules_of(self, user: User, namespace: str) -> list[PolicyRule]:
        """All that the user may in a namespace ("": everywhere), each rule once."""
        found = (rule for rules in self._rule_sets_of(user, namespace) for rule in rules.rules)
        return list(dict.fromkeys(found))

    def role_rules(self, role: RoleName) -> tuple[PolicyRule, ...] | None:
        """What a role allows; None where there is no such role."""
        return self._rules(role, frozenset())

    def _rule_sets_of(self, user: User, namespace: str) -> tuple[RuleSet, ...]:
        known = (user.name, user.groups, namespace)
        found = self._sets_of_users.get(known)
        if found is None:
            subjects: list[Subject] = [("User", user.name), *(("Group", group) for group in user.groups)]
            places = ("", namespace) if namespace else ("",)
            sets = (self._rule_set(subject, place) for subject in subjects for place in places)
            found = tuple(each for each in sets if each is not None)
            if len(self._sets_of_users) >= _KEPT_DECISIONS:
                self._sets_of_users.clear()
            self._sets_of_users[known] = found
        return found

    def _rule_set(self, subject: Subject, namespace: str) -> RuleSet | None:
        key = (subject, namespace)
        if key not in self._rule_sets:
            roles = self._bound().get(subject, {}).get(namespace)
            if roles is None:
                return None  # not kept: anybody may ask for any number of names that are bound to nothing
            rules = (rule for role in dict.fromkeys(roles) for rule in self.role_rules(role) or ())
            self._rule_sets[key] = RuleSet(rules)
        return self._rule_sets[key]

    def _bound(self) -> dict[Subject, dict[str, list[RoleName]]]:
        """Subject -> namespace -> roles."""
        if self._by_subject is None:
            found: defaultdict[Subject, dict[str, list[RoleName]]] = defaultdict(dict)
            for binding in self._all_bindings():
                for subject in binding.subjects:
                    found[subject].setdefault(binding.namespace, []).append(binding.role)
            self._by_subject = dict(found)
        return self._by_subject

    def _all_bindings(self) -> Iterator[Binding]:
        yield from self._bindings.values()
        if self._shared is not None:
            for name in defaultroles.NAMES[defaultroles.CLUSTER_ROLE_BINDINGS]:
                binding = self._shared._bindings.get(("", name))
                if binding is not None and ("", name) not in self._bindings:
                    yield binding

    def _cluster_roles(self) -> Iterator[tuple[RoleName, Role]]:
        for where, role in self._roles.items():
            if not where[0]:
                yield where, role
        if self._shared is not None:
            for name in defaultroles.NAMES[defaultroles.CLUSTER_ROLES]:
                shared = self._shared._roles.get(("", name))
                if shared is not None and ("", name) not in self._roles:
                    yield ("", name), shared

    def _rules(self, where: RoleName, above: frozenset[RoleName]) -> tuple[PolicyRule, ...] | None:
        own = self._roles.get(where)
        is_default = not where[0] and where[1] in defaultroles.NAMES[defaultroles.CLUSTER_ROLES]
        role = own or (self._shared._roles.get(where) if self._shared is not None and is_default else None)
        if role is None:
            return None
        if not is_default or not role.aggregates:
            return role.rules
        # `admin`, `edit` and `view` are shared, and each tenant's own roles aggregate into them in that tenant alone
        rules = list(role.rules)
        for other, part in self._cluster_roles():
            if other not in above and other != where and any(wants(part.labels) for wants in role.aggregates):
                rules += self._rules(other, above | {where}) or ()
        return tuple(dict.fromkeys(rules))


class Rbac:
    """The policies of all tenants. Tell it every event of the mirror, and when the mirror has been loaded anew."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._resources = [scheme.by_name(defaultroles.API_VERSION, name) for name in _KINDS]
        self._tenants: OrderedDict[str, TenantPolicy] = OrderedDict()
        self._system: TenantPolicy | None = None

    def reset(self) -> None:
        self._tenants.clear()
        self._system = None

    def observe(self, events: Iterable[Event]) -> None:
        for event in events:
            key = event.name
            if key.group != RBAC_GROUP:
                continue
            if key.tenant == SYSTEM_TENANT:
                self._system_changed(key, event.entry)
            elif (policy := self._tenants.get(key.tenant)) is not None:
                policy.put(key, event.entry)

    def _system_changed(self, key: ObjectKey, entry: Entry | None) -> None:
        if self._system is not None:
            self._system.put(key, entry)
        if defaultroles.is_default(key.group, key.resource, key.name):
            for policy in self._tenants.values():
                policy.derive_again()

    def of(self, tenant: str) -> TenantPolicy:
        if tenant == SYSTEM_TENANT:
            if self._system is None:
                self._system = self._loaded(SYSTEM_TENANT, None)
            return self._system
        policy = self._tenants.get(tenant)
        if policy is None:
            policy = self._tenants[tenant] = self._loaded(tenant, self.of(SYSTEM_TENANT))
            if len(self._tenants) > _KEPT_TENANTS:
                self._tenants.popitem(last=False)
        else:
            self._tenants.move_to_end(tenant)
        return policy

    def _loaded(self, tenant: str, shared: TenantPolicy | None) -> TenantPolicy:
        policy = TenantPolicy(shared)
        for resource in self._resources:
            for entry in self._mirror.range(self._mirror.keys.range(resource, tenant)):
                assert entry.name is not None
                policy.put(entry.name, entry)
        return policy


def _role(role: Mapping[str, Any]) -> Role:
    wanted = (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
    return Role(
        rules_from(role.get("rules")),
        role["metadata"].get("labels") or {},
        tuple(selectors.from_object(selector) for selector in wanted),
    )


def _binding(binding: Mapping[str, Any], namespace: str) -> Binding:
    reference = binding.get("roleRef") or {}
    role = (namespace if reference.get("kind") == "Role" else "", reference.get("name") or "")
    subjects = (_subject(subject, namespace) for subject in binding.get("subjects") or ())
    return Binding(role, tuple(subject for subject in subjects if subject is not None), namespace)


def _subject(subject: Mapping[str, Any], namespace: str) -> Subject | None:
    kind, name = subject.get("kind"), subject.get("name") or ""
    if kind == "ServiceAccount":
        return "User", service_account_name(subject.get("namespace") or namespace, name)
    return (kind, name) if kind in ("User", "Group") else None
