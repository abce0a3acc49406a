"""How a table of nftables is written as libnftables' JSON: commands that may be applied again at any time. No I/O."""

from collections.abc import Sequence
from typing import Any

from hypernetes.providers.network.nft import Command

ROUTER_TABLE = ("inet", "router")
PORTS_TABLE = ("bridge", "ports")

Expression = dict[str, Any]
DROP: Expression = {"drop": None}
ACCEPT: Expression = {"accept": None}
RETURN: Expression = {"return": None}
MASQUERADE: Expression = {"masquerade": None}


class Table:
    """Commands for one table."""

    def __init__(self, family: str, name: str) -> None:
        self._where = {"family": family, "table": name}
        self.commands: list[Command] = [{"add": {"table": {"family": family, "name": name}}}]

    def collection(self, kind: str, name: str, **properties: Any) -> None:
        """A set or map, with what it holds already."""
        self.commands.append({"add": {kind: {**self._where, "name": name, **properties}}})

    def chain(self, name: str, *rules: Sequence[Expression], **properties: Any) -> None:
        """A chain with exactly these rules."""
        chain = {**self._where, "name": name, **properties}
        self.commands += [{"add": {"chain": chain}}, {"flush": {"chain": {**self._where, "name": name}}}]
        for rule in rules:
            self.commands.append({"add": {"rule": {**self._where, "chain": name, "expr": list(rule)}}})

    def element(self, verb: str, name: str, element: Any) -> None:
        self.commands.append({verb: {"element": {**self._where, "name": name, "elem": [element]}}})

    def without_chain(self, name: str) -> None:
        """The chain gone, whether it was there or not (adding what exists is no error, deleting what doesn't is)."""
        chain = {"chain": {**self._where, "name": name}}
        self.commands += [{"add": chain}, {"flush": chain}, {"delete": chain}]


def hook(hook: str, priority: int, policy: str = "accept", kind: str = "filter") -> dict[str, Any]:
    return {"type": kind, "hook": hook, "prio": priority, "policy": policy}


def match(left: Any, right: Any, op: str = "==") -> Expression:
    return {"match": {"op": op, "left": left, "right": right}}


def meta(key: str, value: Any, op: str = "==") -> Expression:
    return match({"meta": {"key": key}}, value, op)


def payload(protocol: str, field: str, value: Any, op: str = "==") -> Expression:
    return match({"payload": {"protocol": protocol, "field": field}}, value, op)


def state(*states: str) -> Expression:
    return match({"ct": {"key": "state"}}, list(states), "in")
