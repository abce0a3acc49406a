"""NetworkPolicies and who then reaches whom: upstream's recipes and end-to-end cases, on a small tenant.

A case's `allows` is written by hand from what upstream's documentation says, and doesn't come from our own rules. Pods
x/a, x/b, y/a … have the label `pod`, namespaces the label `ns`; every pod has the ports 80 and 81, TCP and UDP, named
serve-80-tcp and so on. What isn't a connection (ARP) no policy is about.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypernetes.api.models.networking_v1 import NetworkPolicy

from .matrix import Matrix, Member, Question, differences

Allows = Callable[[Member, Member, str, int], bool]  # source, target, protocol, port

_NAMES = ("x/a", "x/b", "y/a", "y/b", "z/a", "z/b")
_NODES = (0, 1, 0, 1, 1, 0)
NAMESPACES: Mapping[str, Mapping[str, str]] = {
    name: {"ns": name, "kubernetes.io/metadata.name": name, **({"team": "b"} if name == "y" else {})} for name in "xyz"
}


def _member(name: str, tenant: str, node: int, last: int) -> Member:
    namespace, _, pod = name.rpartition(":")[2].partition("/")
    return Member(name, tenant, node, f"10.0.0.{last}", namespace, {"pod": pod})


MEMBERS: Mapping[str, Member] = {
    each.name: each
    for each in (
        *(_member(name, "acme", node, 10 + n) for n, (name, node) in enumerate(zip(_NAMES, _NODES, strict=True))),
        _member("globex:x/a", "globex", 1, 10),  # the addresses of x/a and y/b, and one that acme has not
        _member("globex:y/b", "globex", 0, 13),
        _member("globex:z/c", "globex", 0, 30),
    )
}
ADDRESS = {name: member.address for name, member in MEMBERS.items()}


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    policies: list[NetworkPolicy]
    allows: Allows
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of members, other than their own


async def check(asked: Matrix, case: Case) -> list[str]:
    """What isn't as the case says; the other tenant goes on as if nothing were."""
    await asked.set_policies("acme", case.policies, NAMESPACES, case.labels)
    members = asked.members

    def passes(source: str, question: Question, target: str) -> bool:
        if question.protocol == "ARP" or members[source].tenant != "acme":
            return True
        return case.allows(members[source], members[target], question.protocol, question.port)

    expected = {key: target for key, target in asked.everybody().items() if passes(*key, target)}
    return [*differences(await asked.ask(expected), expected), *map(str, asked.strayed())]


def policy(
    namespace: str = "x", selects: Any = None, types: Iterable[str] | None = None, name: str = "p", **rules: Any
) -> NetworkPolicy:
    """As the API server stores it: types and protocols are filled in."""
    kinds = list(types) if types else ["Ingress", "Egress"] if rules.get("egress") else ["Ingress"]
    spec = {"podSelector": selects or {}, "policyTypes": kinds, **rules}
    return NetworkPolicy.from_dict({"metadata": {"name": name, "namespace": namespace}, "spec": spec})


def pods(**labels: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": labels} if labels else {}}


def spaces(**labels: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": labels} if labels else {}}


def among(key: str, *values: str, operator: str = "In") -> dict[str, Any]:
    expression: dict[str, Any] = {"key": key, "operator": operator}
    return {"matchExpressions": [{**expression, "values": list(values)} if values else expression]}


def block(cidr: str, *but: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": cidr, **({"except": list(but)} if but else {})}}


def to(port: int | str | None = None, protocol: str = "TCP", end: int | None = None) -> dict[str, Any]:
    return {"protocol": protocol, **({"port": port} if port is not None else {}), **({"endPort": end} if end else {})}


def into(name: str, chosen: Allows) -> Allows:
    """What comes to the pods of a namespace, or to one, is limited; all else passes."""
    return lambda s, d, protocol, port: not _is(d, name) or chosen(s, d, protocol, port)


def out_of(name: str, chosen: Allows) -> Allows:
    return lambda s, d, protocol, port: not _is(s, name) or chosen(s, d, protocol, port)


def both(*parts: Allows) -> Allows:
    return lambda s, d, protocol, port: all(part(s, d, protocol, port) for part in parts)


def _is(member: Member, name: str) -> bool:
    return name in (member.name, member.namespace)


def nothing(s: Member, d: Member, protocol: str, port: int) -> bool:
    return False


def everything(s: Member, d: Member, protocol: str, port: int) -> bool:
    return True


def source(*names: str) -> Allows:
    return lambda s, d, protocol, port: any(_is(s, name) for name in names)


def target(*names: str) -> Allows:
    return lambda s, d, protocol, port: any(_is(d, name) for name in names)


def on(*ports: tuple[str, int]) -> Allows:
    return lambda s, d, protocol, port: (protocol, port) in ports


A = {"matchLabels": {"pod": "a"}}
TCP = (("TCP", 80), ("TCP", 81))
UDP = (("UDP", 80), ("UDP", 81))


def _ingress(name: str, rules: list[dict[str, Any]], chosen: Allows, selects: Any = None) -> Case:
    """About the pods a policy in x selects: all of x, or x/a."""
    made = policy(selects=selects, ingress=rules)
    return Case(name, [made], into("x/a" if selects else "x", chosen))


def _egress(name: str, rules: list[dict[str, Any]], chosen: Allows, selects: Any = None) -> Case:
    made = policy(selects=selects, types=["Egress"], egress=rules)
    return Case(name, [made], out_of("x/a" if selects else "x", chosen))


INGRESS = [
    _ingress("no-traffic-to-an-application", [], nothing, A),
    _ingress("deny-all-to-a-namespace", [], nothing),
    _ingress("allow-all-to-an-application", [{}], everything, A),
    _ingress("limit-traffic-to-an-application", [{"from": [pods(pod="b")]}], source("x/b"), A),
    _ingress("deny-all-from-other-namespaces", [{"from": [pods()]}], source("x")),
    _ingress("from-all-namespaces", [{"from": [spaces()]}], everything, A),
    _ingress("from-a-namespace", [{"from": [spaces(ns="y")]}], source("y"), A),
    _ingress("from-a-namespace-by-its-name", [{"from": [spaces(**{"kubernetes.io/metadata.name": "z"})]}], source("z")),
    _ingress("from-some-pods-of-a-namespace", [{"from": [{**spaces(ns="y"), **pods(pod="a")}]}], source("y/a"), A),
    _ingress("from-some-pods-of-all", [{"from": [{**spaces(), **pods(pod="b")}]}], source("x/b", "y/b", "z/b"), A),
    _ingress("from-a-namespace-or-pods", [{"from": [spaces(ns="y"), pods(pod="b")]}], source("y", "x/b"), A),
    _ingress("namespaces-by-expression-in", [{"from": [{"namespaceSelector": among("ns", "y", "z")}]}],
             source("y", "z")),
    _ingress("namespaces-by-expression-not-in",
             [{"from": [{"namespaceSelector": among("ns", "x", operator="NotIn")}]}], source("y", "z")),
    _ingress("namespaces-that-have-a-label",
             [{"from": [{"namespaceSelector": among("team", operator="Exists")}]}], source("y")),
    _ingress("namespaces-without-a-label",
             [{"from": [{"namespaceSelector": among("team", operator="DoesNotExist")}]}], source("x", "z")),
    _ingress("pods-by-expression", [{"from": [{"podSelector": among("pod", "b", "c")}]}], source("x/b"), A),
    _ingress("to-a-port", [{"ports": [to(80)]}], on(("TCP", 80)), A),
    _ingress("to-a-port-by-its-name", [{"ports": [to("serve-81-tcp")]}], on(("TCP", 81)), A),
    _ingress("to-a-port-of-udp", [{"ports": [to(80, "UDP")]}], on(("UDP", 80)), A),
    _ingress("to-a-name-of-the-other-protocol", [{"ports": [to("serve-81-udp")]}], nothing, A),
    _ingress("to-all-ports-of-a-protocol", [{"ports": [to(None)]}], on(*TCP), A),
    _ingress("to-a-range-of-ports", [{"ports": [to(79, end=80)]}], on(("TCP", 80)), A),
    _ingress("to-several-ports", [{"ports": [to(80), to(81, "UDP")]}], on(("TCP", 80), ("UDP", 81))),
    _ingress("pods-and-ports", [{"from": [spaces(ns="y")], "ports": [to(81)]}],
             both(source("y"), on(("TCP", 81))), A),
    _ingress("two-rules", [{"from": [spaces(ns="y")], "ports": [to(80)]}, {"from": [pods()], "ports": [to(81)]}],
             lambda s, d, p, n: (s.namespace == "y" and (p, n) == TCP[0]) or (s.namespace == "x" and (p, n) == TCP[1])),
    _ingress("from-a-block", [{"from": [block(ADDRESS["y/a"] + "/32")]}], source("y/a"), A),
    _ingress("from-a-block-but", [{"from": [block("10.0.0.0/24", ADDRESS["x/b"] + "/32", ADDRESS["z/a"] + "/32")]}],
             lambda s, d, p, n: s.name not in ("x/b", "z/a"), A),
    _ingress("from-a-block-elsewhere", [{"from": [block("198.51.100.0/24")]}], nothing, A),
    _ingress("from-nobody-that-is-selected", [{"from": [pods(pod="nobody")]}], nothing, A),
]  # fmt: skip

EGRESS = [
    _egress("no-traffic-from-an-application", [], nothing, A),
    _egress("deny-all-from-a-namespace", [], nothing),
    _egress("allow-all-from-an-application", [{}], everything, A),
    _egress("to-the-own-namespace", [{"to": [pods()]}], target("x")),
    _egress("to-a-namespace", [{"to": [spaces(ns="y")]}], target("y"), A),
    _egress("to-some-pods-of-a-namespace", [{"to": [{**spaces(ns="y"), **pods(pod="b")}]}], target("y/b"), A),
    _egress("to-others-port", [{"ports": [to(80)]}], on(("TCP", 80)), A),
    _egress("to-others-port-by-its-name", [{"to": [spaces(ns="z")], "ports": [to("serve-80-udp", "UDP")]}],
            both(target("z"), on(("UDP", 80))), A),
    _egress("to-others-range-of-ports", [{"ports": [to(80, "UDP", end=90)]}], on(*UDP)),
    _egress("to-a-block-but", [{"to": [block("10.0.0.0/24", ADDRESS["y/b"] + "/32")]}],
            lambda s, d, p, n: d.name != "y/b", A),
    _egress("to-a-block-outside-only", [{"to": [block("0.0.0.0/0", "10.0.0.0/8")]}], nothing, A),
]  # fmt: skip

SEVERAL = [
    Case("no-policy", [], everything),
    Case("policies-add-up",
         [policy(selects=A, ingress=[], name="none"),
          policy(selects=A, ingress=[{"from": [spaces(ns="y")]}], name="y"),
          policy(selects=A, ingress=[{"from": [pods()], "ports": [to(80)]}], name="own")],
         into("x/a", lambda s, d, p, n: s.namespace == "y" or (s.namespace == "x" and (p, n) == TCP[0]))),
    Case("both-ends-must-allow",
         [policy("x", ingress=[{"from": [spaces(ns="y"), spaces(ns="z")]}]),
          policy("y", types=["Egress"], egress=[{"to": [spaces(ns="z")]}])],
         both(into("x", source("y", "z")), out_of("y", target("z")))),
    Case("one-policy-for-both-directions",
         [policy(selects=A, types=["Ingress", "Egress"], ingress=[{"from": [spaces(ns="y")]}],
                 egress=[{"to": [spaces(ns="z")]}])],
         both(into("x/a", source("y")), out_of("x/a", target("z")))),
    Case("deny-all-of-a-namespace", [policy(types=["Ingress", "Egress"])],
         both(into("x", nothing), out_of("x", nothing))),
    Case("every-namespace-for-itself", [policy(name, ingress=[{"from": [pods()]}]) for name in "xyz"],
         lambda s, d, p, n: s.namespace == d.namespace),
    Case("a-pods-new-label-opens", [policy(selects=A, ingress=[{"from": [pods(friend="yes")]}])],
         into("x/a", source("x/b")), {"x/b": {"pod": "b", "friend": "yes"}}),
    Case("a-pods-new-label-ends-a-policy", [policy(selects=A, ingress=[])], everything, {"x/a": {"pod": "other"}}),
    Case("egress-is-no-ingress", [policy("y", types=["Egress"], egress=[{"to": [pods()]}])], out_of("y", target("y"))),
]  # fmt: skip

CASES = [*INGRESS, *EGRESS, *SEVERAL]
assert len(CASES) == len({case.name for case in CASES}) >= 40
