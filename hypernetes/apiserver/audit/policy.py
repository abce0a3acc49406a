"""The policy: the first rule that fits a request says how much of it is recorded (pure).

`tenants` in a rule is ours: the tenants that a request is about, `*` for requests across all of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

API_VERSION = "audit.k8s.io/v1"
LEVELS = ("None", "Metadata", "Request", "RequestResponse")
NONE, METADATA, REQUEST, REQUEST_RESPONSE = range(4)  # of a Decision
RECEIVED, STARTED, COMPLETE, PANIC = STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_KNOWN_DECISIONS = 4096  # remembered; there are few kinds of requests, and names only where rules speak of them
_RULE = frozenset({
    "level", "users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs", "tenants", "omitStages",
    "omitManagedFields",
})  # fmt: skip
_RESOURCES = frozenset({"group", "resources", "resourceNames"})
_POLICY = frozenset({"apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields"})


class PolicyError(ValueError):
    """The policy isn't one; the text says where and why."""


class Asked(NamedTuple):
    """What a rule looks at. `resource` is "" for a path that is none, which `path` is then."""

    user: str
    groups: tuple[str, ...]
    tenant: str
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    level: int
    omitted: frozenset[str]  # stages of which nothing is recorded
    omit_managed_fields: bool


@dataclass(frozen=True, slots=True)
class Resources:
    """Those of one group; all of it where none are named."""

    group: str
    resources: tuple[str, ...]
    names: tuple[str, ...]

    def match(self, asked: Asked) -> bool:
        if self.group != asked.group or (self.names and asked.name not in self.names):
            return False
        return not self.resources or any(_is_resource(each, asked) for each in self.resources)


def _is_resource(named: str, asked: Asked) -> bool:
    """`pods` has no subresources; `pods/log`, `pods/*`, `*/scale` and `*` are of them."""
    if named == "*":
        return True
    resource, _, subresource = named.partition("/")
    if resource == "*":
        return bool(subresource) and subresource == asked.subresource
    return resource == asked.resource and subresource in ("*", asked.subresource)


@dataclass(frozen=True, slots=True)
class Rule:
    decision: Decision
    users: frozenset[str]
    groups: frozenset[str]
    verbs: frozenset[str]
    tenants: frozenset[str]
    namespaces: frozenset[str]
    resources: tuple[Resources, ...]
    paths: tuple[str, ...]

    def matches(self, asked: Asked) -> bool:
        if self.users and asked.user not in self.users:
            return False
        if self.groups and self.groups.isdisjoint(asked.groups):
            return False
        if (self.verbs and asked.verb not in self.verbs) or (self.tenants and asked.tenant not in self.tenants):
            return False
        if self.namespaces or self.resources:
            return self._matches_resource(asked)
        return not self.paths or (not asked.resource and any(_is_path(each, asked.path) for each in self.paths))

    def _matches_resource(self, asked: Asked) -> bool:
        if not asked.resource or (self.namespaces and asked.namespace not in self.namespaces):
            return False
        return not self.resources or any(each.match(asked) for each in self.resources)


def _is_path(named: str, path: str) -> bool:
    return path.startswith(named[:-1]) if named.endswith("*") else path == named


class Policy:
    """Decides, and remembers what it decided."""

    def __init__(self, rules: Iterable[Rule], omitted: frozenset[str] = frozenset()) -> None:
        self._rules = tuple(rules)
        self._otherwise = Decision(NONE, omitted, omit_managed_fields=False)
        # whether any rule names objects: where not, their names tell no two requests apart
        self.by_name = any(each.names for rule in self._rules for each in rule.resources)
        self._known: dict[tuple[Any, ...], Decision] = {}

    def decide(self, values: tuple[Any, ...]) -> Decision:
        """`values` are those of an Asked, which costs more to make than to look up."""
        decision = self._known.get(values)
        if decision is None:
            asked = Asked._make(values)
            decision = next((rule.decision for rule in self._rules if rule.matches(asked)), self._otherwise)
            if len(self._known) >= _KNOWN_DECISIONS:
                self._known.clear()
            self._known[values] = decision
        return decision


def parse(text: bytes | str) -> Policy:
    """The policy of a file. Raises PolicyError."""
    try:
        document = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise PolicyError(f"it is no YAML: {error}") from error
    policy = _mapping(document, "the policy", _POLICY)
    if (policy.get("apiVersion"), policy.get("kind")) != (API_VERSION, "Policy"):
        raise PolicyError(f"it is no Policy of {API_VERSION}")
    rules = policy.get("rules")
    if not isinstance(rules, list) or not rules:
        raise PolicyError("rules: there are none")
    omitted = _stages(policy, "omitStages")
    fields = _flag(policy, "omitManagedFields", "", False)
    return Policy([_rule(each, f"rules[{index}]", omitted, fields) for index, each in enumerate(rules)], omitted)


def _rule(value: Any, path: str, omitted: frozenset[str], omit_fields: bool) -> Rule:
    rule = _mapping(value, path, _RULE)
    level = rule.get("level")
    if level not in LEVELS:
        raise PolicyError(f"{path}.level: {level!r} is none of {', '.join(LEVELS)}")
    paths = _names(rule, "nonResourceURLs", path)
    resources = rule.get("resources") or []
    if not isinstance(resources, list):
        raise PolicyError(f"{path}.resources: must be a list")
    if paths and (resources or rule.get("namespaces")):
        raise PolicyError(f"{path}: a rule is of resources and namespaces or of nonResourceURLs, not of both")
    for each in paths:
        if each != "*" and (not each.startswith("/") or "*" in each[:-1]):
            raise PolicyError(f"{path}.nonResourceURLs: {each!r} must begin with a slash, and have a * at its end only")
    decision = Decision(
        LEVELS.index(level), omitted | _stages(rule, "omitStages", path),
        _flag(rule, "omitManagedFields", path, omit_fields),
    )  # fmt: skip
    found = tuple(_resources(each, f"{path}.resources[{index}]") for index, each in enumerate(resources))
    users, groups, verbs, tenants, namespaces = (
        frozenset(_names(rule, name, path)) for name in ("users", "userGroups", "verbs", "tenants", "namespaces")
    )
    return Rule(decision, users, groups, verbs, tenants, namespaces, found, paths)


def _resources(value: Any, path: str) -> Resources:
    found = _mapping(value, path, _RESOURCES)
    group = found.get("group") or ""
    if not isinstance(group, str) or "/" in group:
        raise PolicyError(f"{path}.group: {group!r} is no API group (without its version)")
    resources, names = _names(found, "resources", path), _names(found, "resourceNames", path)
    if names and not resources:
        raise PolicyError(f"{path}.resourceNames: only where resources are named, too")
    return Resources(group, resources, names)


def _mapping(value: Any, path: str, known: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PolicyError(f"{path}: must be an object")
    unknown = sorted(str(key) for key in value if key not in known)
    if unknown:
        raise PolicyError(f"{path}: unknown field {unknown[0]!r}")
    return value


def _names(value: Mapping[str, Any], name: str, path: str) -> tuple[str, ...]:
    found = value.get(name) or []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise PolicyError(f"{path}.{name}: must be a list of strings")
    return tuple(found)


def _stages(value: Mapping[str, Any], name: str, path: str = "") -> frozenset[str]:
    found = _names(value, name, path)
    for each in found:
        if each not in STAGES:
            raise PolicyError(f"{path}.{name}: {each!r} is none of {', '.join(STAGES)}".lstrip("."))
    return frozenset(found)


def _flag(value: Mapping[str, Any], name: str, path: str, otherwise: bool) -> bool:
    found = value.get(name)
    if found is None:
        return otherwise
    if not isinstance(found, bool):
        raise PolicyError(f"{path}.{name}: must be true or false".lstrip("."))
    return found
