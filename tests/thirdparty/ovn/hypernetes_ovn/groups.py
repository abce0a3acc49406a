"""Policies as port groups with access control lists. A port without a policy is in no group, and open."""

from collections.abc import Iterator

from hypernetes.providers.network.base import Allowance, NetworkSpec, PolicyGroup, PortPolicy
from hypernetes_ovn import names
from hypernetes_ovn.database import Database

_DROP, _ALLOW = "1000", "1001"
_DIRECTIONS = {"ingress": ("to-lport", "outport", "src"), "egress": ("from-lport", "inport", "dst")}
_EVERYTHING = Allowance(None, None)


def rules(name: str, policy: PortPolicy) -> list[tuple[str, str, str, str]]:
    """(direction, priority, match, action), all different."""
    found = []
    for side, allowances in (("ingress", policy.ingress), ("egress", policy.egress)):
        direction, port, end = _DIRECTIONS[side]
        own = f"{port} == @{name} && ip4"
        found.append((direction, _DROP, own, "drop"))
        # Also where all is open: a connection that was allowed one way is known, and its answers pass the other way.
        for match in _matches((_EVERYTHING,) if allowances is None else allowances, end):
            found.append((direction, _ALLOW, f"{own}{match}", "allow-related"))
    return list(dict.fromkeys(found))


def _matches(allowances: tuple[Allowance, ...], end: str) -> Iterator[str]:
    for allowance in allowances:
        peers = "" if allowance.peers is None else f" && ip4.{end} == {{{', '.join(allowance.peers)}}}"
        if allowance.peers == ():
            continue
        if allowance.ports is None:
            yield peers
            continue
        for each in allowance.ports:
            word = each.protocol.lower()
            yield f"{peers} && {word} && {word}.dst >= {each.first} && {word}.dst <= {each.last}"


class Groups:
    def __init__(self, cluster: str, database: Database) -> None:
        self._cluster, self._database = cluster, database

    async def ensure(self, network: NetworkSpec, group: PolicyGroup) -> str:
        """The group's name, with exactly its policy's lists; "" for one that is open. Raises NetworkError."""
        if group.policy == PortPolicy():
            return ""
        name = names.group(self._cluster, network, group.key)
        there = await self._database.find("Port_Group", "name", hypernetes_group=name)
        made = [] if there else [[
            "create", "Port_Group", f"name={name}", f"external_ids:hypernetes-cluster={self._cluster}",
            f"external_ids:hypernetes-group={name}",
        ]]  # fmt: skip
        if made:
            await self._database.transact(*made)
        lists = [["acl-add", name, *rule] for rule in rules(name, group.policy)]
        await self._database.transact(["acl-del", name], *lists)
        return name
