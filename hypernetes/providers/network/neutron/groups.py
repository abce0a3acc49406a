"""Policies as security groups: allowances become rules, and a direction that is open one rule for all. Blocking."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypernetes.providers.network.base import Allowance, NetworkSpec, PolicyGroup, PortPolicy
from hypernetes.providers.network.neutron import tags
from hypernetes.providers.network.neutron.api import Neutron
from hypernetes.providers.network.neutron.networks import project
from hypernetes.providers.rest import Object

_ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True)
class Rule:
    """None means any. IPv4 only: nothing else is on tenants' networks."""

    direction: str
    peer: str | None = None
    protocol: str | None = None
    first: int | None = None
    last: int | None = None


def rules(policy: PortPolicy) -> frozenset[Rule]:
    return frozenset((*_rules("ingress", policy.ingress), *_rules("egress", policy.egress)))


def _rules(direction: str, allowances: tuple[Allowance, ...] | None) -> Iterator[Rule]:
    if allowances is None:
        yield Rule(direction)
        return
    for allowance in allowances:
        for cidr in (None,) if allowance.peers is None else allowance.peers:
            peer = None if cidr == _ANYWHERE else cidr
            if allowance.ports is None:
                yield Rule(direction, peer)
                continue
            for each in allowance.ports:
                whole = each.first <= 1 and each.last == 65535
                ends = (None, None) if whole else (max(each.first, 1), each.last)
                yield Rule(direction, peer, each.protocol.lower(), *ends)


def ensure(neutron: Neutron, cluster_id: str, network: NetworkSpec, group: PolicyGroup) -> str:
    """The group's id, with exactly its policy's rules in it. Raises NetworkError."""
    marks = tags.all_of(cluster_id, tags.group(group.key))
    found = neutron.made("security-groups", marks, project(network))
    name = f"hypernetes-{group.key}"
    made = found[0] if found else neutron.create("security-groups", marks, project_id=project(network), name=name)
    there = {each["id"]: rule_of(each) for each in made["security_group_rules"]}
    wanted = rules(group.policy)
    missing = sorted(wanted - {*there.values()}, key=repr)
    if missing:
        bodies = [_body(rule, made["id"], project(network)) for rule in missing]
        neutron.create_all("security-group-rules", bodies)
    for id, rule in there.items():
        if rule not in wanted:
            neutron.delete("security-group-rules", id)
    return str(made["id"])


def rule_of(described: Object) -> Rule | None:
    """As Neutron describes it; None for what can't be one of ours."""
    if described["ethertype"] != "IPv4" or described["remote_group_id"] or described.get("remote_address_group_id"):
        return None
    peer = described["remote_ip_prefix"]
    return Rule(
        described["direction"], None if peer == _ANYWHERE else peer, described["protocol"],
        described["port_range_min"], described["port_range_max"],
    )  # fmt: skip


def _body(rule: Rule, group: str, owner: str) -> dict[str, Any]:
    return {
        "security_group_id": group, "project_id": owner, "direction": rule.direction, "ethertype": "IPv4",
        "remote_ip_prefix": rule.peer, "protocol": rule.protocol, "port_range_min": rule.first,
        "port_range_max": rule.last,
    }  # fmt: skip
