"""What a rule allows: verbs on resources of some groups, perhaps of one name or in one tenant. "*" is any."""

from collections.abc import Iterable
from dataclasses import dataclass

from hypernetes.apiserver.authz.attributes import Attributes

ANY = "*"
READ = ("get", "list", "watch")
CHANGE = ("update", "patch")
WRITE = ("create", "update", "patch", "delete", "deletecollection")


@dataclass(frozen=True, slots=True)
class Rule:
    """`resources` are `pods`, or `pods/status` for a subresource; "*" is every resource and every subresource."""

    verbs: tuple[str, ...]
    resources: tuple[str, ...]
    groups: tuple[str, ...] = ("",)
    tenants: tuple[str, ...] = (ANY,)
    namespaces: tuple[str, ...] = (ANY,)
    names: tuple[str, ...] = (ANY,)

    def matches(self, asked: Attributes) -> bool:
        resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        return (
            _holds(self.verbs, asked.verb)
            and _holds(self.resources, resource)
            and _holds(self.groups, asked.group)
            and _holds(self.tenants, asked.tenant)
            and _holds(self.namespaces, asked.namespace)
            and _holds(self.names, asked.name)
        )


def any_matches(rules: Iterable[Rule], asked: Attributes) -> bool:
    return any(rule.matches(asked) for rule in rules)


def _holds(allowed: tuple[str, ...], value: str) -> bool:
    return ANY in allowed or value in allowed
