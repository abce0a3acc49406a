"""What a role's rules allow: verbs on resources of groups (perhaps of some names), or verbs on URLs. Pure.

A `PolicyRule` is a rule as the API has it; a `RuleSet` is many of them, indexed so that a decision costs a dozen
look-ups however many rules there are.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from hypernetes.apiserver.authz.attributes import Attributes

ANY = "*"
_ANY_RESOURCE_PREFIX = "*/"  # `*/status`: this subresource of every resource


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """`resources` are `pods`, `pods/log`, `*/scale` or `*`; a rule has either those or `non_resource_urls`."""

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()  # none: all names
    non_resource_urls: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, rule: Mapping[str, Any]) -> "PolicyRule":
        keys = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
        return cls(*(tuple(rule.get(key) or ()) for key in keys))

    def to_dict(self) -> dict[str, list[str]]:
        """As the API writes it: what is empty is left out."""
        fields = {
            "verbs": self.verbs, "apiGroups": self.api_groups, "resources": self.resources,
            "resourceNames": self.resource_names, "nonResourceURLs": self.non_resource_urls,
        }  # fmt: skip
        return {key: list(values) for key, values in fields.items() if values or key == "verbs"}

    def covers(self, atom: "PolicyRule") -> bool:
        """Whether it allows all that an atom (see `atoms`) does."""
        if atom.verbs[0] not in self.verbs and ANY not in self.verbs:
            return False
        if atom.non_resource_urls:
            return any(_url_covers(own, atom.non_resource_urls[0]) for own in self.non_resource_urls)
        return (
            _holds(self.api_groups, atom.api_groups[0])
            and any(_resource_covers(own, atom.resources[0]) for own in self.resources)
            and (not self.resource_names or any(name in self.resource_names for name in atom.resource_names))
        )


def rules_from(rules: Iterable[Mapping[str, Any]] | None) -> tuple[PolicyRule, ...]:
    """The rules of a Role or ClusterRole."""
    return tuple(PolicyRule.from_dict(rule) for rule in rules or ())


def atoms(rule: PolicyRule) -> Iterator[PolicyRule]:
    """The rule taken apart: one verb, one group, one resource, one name (or none), or one verb and one URL, each."""
    for verb, group, resource in product(rule.verbs, rule.api_groups, rule.resources):
        for name in rule.resource_names or (None,):
            yield PolicyRule((verb,), (group,), (resource,), () if name is None else (name,))
    for verb, url in product(rule.verbs, rule.non_resource_urls):
        yield PolicyRule((verb,), non_resource_urls=(url,))


def uncovered(owned: Iterable[PolicyRule], wanted: Iterable[PolicyRule]) -> list[PolicyRule]:
    """The atoms of `wanted` that no rule of `owned` covers."""
    have = tuple(owned)
    return [atom for rule in wanted for atom in atoms(rule) if not any(own.covers(atom) for own in have)]


def _holds(allowed: tuple[str, ...], value: str) -> bool:
    return value in allowed or ANY in allowed


def _resource_covers(own: str, wanted: str) -> bool:
    if own in (ANY, wanted):
        return True
    _, slash, subresource = wanted.partition("/")
    return bool(slash) and own == _ANY_RESOURCE_PREFIX + subresource


def _url_covers(own: str, wanted: str) -> bool:
    """`/a*` covers `/a`, `/ab` and `/ab*`."""
    return own in (ANY, wanted) or (own.endswith(ANY) and wanted.startswith(own[:-1]))


Names = frozenset[str] | None  # None: all
_NO_NAMES: Names = frozenset()


class RuleSet:
    """Many rules, as one question: is this allowed?"""

    __slots__ = ("_resources", "_urls", "rules")

    def __init__(self, rules: Iterable[PolicyRule]) -> None:
        self.rules = tuple(rules)
        self._resources: dict[str, dict[tuple[str, str], Names]] = {}  # verb -> (group, resource) -> names
        self._urls: list[tuple[str, str]] = []
        for rule in self.rules:
            names: Names = frozenset(rule.resource_names) or None
            for verb, group, resource in product(rule.verbs, rule.api_groups, rule.resources):
                self._add(verb, (group, resource), names)
            self._urls.extend(product(rule.verbs, rule.non_resource_urls))

    def _add(self, verb: str, key: tuple[str, str], names: Names) -> None:
        of_verb = self._resources.setdefault(verb, {})
        known = of_verb.get(key, frozenset())
        of_verb[key] = None if names is None or known is None else known | names

    def allows(self, asked: Attributes) -> bool:
        if not asked.resource:
            return any(
                verb in (asked.verb, ANY) and (url == asked.path or _is_below(url, asked.path))
                for verb, url in self._urls
            )
        resources: tuple[str, ...] = (asked.resource, ANY)
        if asked.subresource:
            resources = (f"{asked.resource}/{asked.subresource}", ANY, _ANY_RESOURCE_PREFIX + asked.subresource)
        for verb in (asked.verb, ANY):
            of_verb = self._resources.get(verb)
            if of_verb is None:
                continue
            for group in (asked.group, ANY):
                for resource in resources:
                    names = of_verb.get((group, resource), _NO_NAMES)
                    if names is None or asked.name in names:
                        return True
        return False


def _is_below(url: str, path: str) -> bool:
    return url.endswith(ANY) and path.startswith(url[:-1])
