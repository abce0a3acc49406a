"""Users: people of a tenant whom the cluster knows by itself. Their secrets lie elsewhere (authn/localusers.py)."""

from typing import Any

from hypernetes.api.usernames import KEYSTONE_PREFIX, SYSTEM_PREFIX
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_MAX_GROUPS = 64
_MAX_CHARACTERS = 253


def validate(user: Object) -> Causes:
    groups = (user.get("spec") or {}).get("groups") or []
    causes: Causes = []
    if len(groups) > _MAX_GROUPS:
        causes += validation.invalid("spec.groups", len(groups), f"must have at most {_MAX_GROUPS} items")
    for index, group in enumerate(groups):
        path = f"spec.groups[{index}]"
        if not group or len(group) > _MAX_CHARACTERS or not group.isprintable():
            causes += validation.invalid(path, group, f"must be 1 to {_MAX_CHARACTERS} printable characters")
        elif group.startswith((SYSTEM_PREFIX, KEYSTONE_PREFIX)):
            whose = "the cluster's own" if group.startswith(SYSTEM_PREFIX) else "Keystone's"
            causes += validation.invalid(path, group, f"groups that begin so are {whose}")
    return causes


STRATEGY = Strategy(generation=True, validate=validate)
