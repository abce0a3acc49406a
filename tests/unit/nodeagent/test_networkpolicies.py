"""NetworkPolicies: who may talk to whom, by the rules and examples of upstream's documentation.

Each case is a small tenant: pods in namespaces, policies, and the connections that pass, all others being refused.
"""

import ipaddress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.api.models.core_v1 import ContainerPort
from hypernetes.api.models.networking_v1 import NetworkPolicy
from hypernetes.providers.network.base import OPEN, Allowance, PortPolicy, PortRange
from hypernetes.providers.network.networkpolicies import Place, Surroundings, port_policy

NAMESPACES = {
    "shop": {"kubernetes.io/metadata.name": "shop", "team": "sales"},
    "ops": {"kubernetes.io/metadata.name": "ops", "team": "platform"},
    "dev": {"kubernetes.io/metadata.name": "dev"},
}


def pod(namespace: str, address: str, network: str = "default", ports: Any = (), **labels: str) -> Place:
    named = tuple(ContainerPort.from_dict(port) for port in ports)
    return Place(namespace, labels, network, address, named)


HTTP = (
    {"name": "http", "containerPort": 8080, "protocol": "TCP"},
    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
)
PODS = {
    "web": pod("shop", "10.0.0.1", ports=HTTP, app="web", tier="front"),
    "api": pod("shop", "10.0.0.2", ports=({"name": "http", "containerPort": 9000},), app="api", tier="back"),
    "db": pod("shop", "10.0.0.3", app="db", tier="back"),
    "monitor": pod("ops", "10.0.0.4", app="monitor"),
    "web-dev": pod("dev", "10.0.0.5", app="web", tier="front"),
    "elsewhere": pod("shop", "10.9.0.1", network="other", app="api", tier="back"),
}
OUTSIDE = {"internet": "198.51.100.7", "office": "172.17.1.5", "neighbour": "172.17.0.9"}
AROUND = Surroundings(NAMESPACES, tuple(PODS.values()))


def policy(namespace: str = "shop", selects: Any = None, types: Any = None, **rules: Any) -> NetworkPolicy:
    """As the API server stores it: types are filled in, and protocols."""
    selector = {} if selects is None else selects
    kinds = types or (["Ingress", "Egress"] if rules.get("egress") else ["Ingress"])
    spec = {"podSelector": selector, "policyTypes": kinds, **rules}
    return NetworkPolicy.from_dict({"metadata": {"name": "p", "namespace": namespace}, "spec": spec})


def passes(policies: list[NetworkPolicy], source: str, target: str, port: int = 80, protocol: str = "TCP") -> bool:
    """What both ends' ports make of a connection."""
    sender, receiver = PODS.get(source), PODS.get(target)
    if sender is not None and not _opens(_of(policies, sender).egress, target, port, protocol):
        return False
    return receiver is None or _opens(_of(policies, receiver).ingress, source, port, protocol)


def _of(policies: list[NetworkPolicy], own: Place) -> PortPolicy:
    return port_policy(policies, own, AROUND)


def _opens(allowances: tuple[Allowance, ...] | None, other: str, port: int, protocol: str) -> bool:
    if allowances is None:
        return True
    address = ipaddress.ip_address(PODS[other].address if other in PODS else OUTSIDE[other])

    def fits(allowance: Allowance) -> bool:
        peers, ports = allowance.peers, allowance.ports
        return (peers is None or any(address in ipaddress.ip_network(peer) for peer in peers)) and (
            ports is None or any(each.protocol == protocol and each.first <= port <= each.last for each in ports)
        )

    return any(fits(allowance) for allowance in allowances)


@dataclass
class Case:
    """`passing`: "source > target[:port[/protocol]]" that pass; `refused`: that don't."""

    policies: list[NetworkPolicy]
    passing: str = ""
    refused: str = ""


def _app(name: str) -> dict[str, Any]:
    return {"matchLabels": {"app": name}}


def _in(*peers: Any, ports: Any = None) -> list[Any]:
    rule: dict[str, Any] = {"from": list(peers)} if peers else {}
    return [{**rule, "ports": ports}] if ports else [rule]


def _out(*peers: Any, ports: Any = None) -> list[Any]:
    rule: dict[str, Any] = {"to": list(peers)} if peers else {}
    return [{**rule, "ports": ports}] if ports else [rule]


def tcp(port: Any, end: int | None = None) -> dict[str, Any]:
    return {"protocol": "TCP", "port": port, **({"endPort": end} if end else {})}


def pods(selector: Any) -> dict[str, Any]:
    return {"podSelector": selector}


def namespaces(selector: Any, and_pods: Any = None) -> dict[str, Any]:
    return {"namespaceSelector": selector, **({"podSelector": and_pods} if and_pods is not None else {})}


def block(cidr: str, *holes: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": cidr, "except": list(holes)}}


TEAM_PLATFORM = {"matchLabels": {"team": "platform"}}
CASES = {
    "without a policy everything passes": Case([], "internet > web, web > db, db > internet, monitor > api"),
    "a policy of another namespace is about nobody here": Case([policy("dev")], "internet > web", "internet > web-dev"),
    "a policy that selects nobody changes nothing": Case([policy(selects=_app("none"))], "internet > web, api > db"),
    "default deny of all that comes in": Case(
        [policy()], "web > internet, api > monitor", "internet > web, api > db, monitor > api, web > api"
    ),
    "default allow of all that comes in": Case([policy(ingress=[{}])], "internet > web, api > db, monitor > db:1/UDP"),
    "default deny of all that goes out": Case(
        [policy(types=["Egress"])], "internet > web, monitor > db", "web > internet, web > monitor, api > db"
    ),
    "default allow of all that goes out": Case(
        [policy(egress=[{}], types=["Egress"])], "web > internet, internet > web, db > monitor"
    ),
    "default deny of both ways": Case(
        [policy(types=["Ingress", "Egress"])], "monitor > internet", "internet > web, web > internet, api > db"
    ),
    "egress rules alone imply nothing about what comes in, if so said": Case(
        [policy(types=["Egress"], egress=_out(pods(_app("db"))))], "internet > api, api > db", "api > internet"
    ),
    "both types with egress rules only close what comes in": Case(
        [policy(selects=_app("api"), egress=_out(pods(_app("db"))))], "api > db", "web > api, api > internet"
    ),
    "an empty list of rules allows nothing": Case([policy(ingress=[])], "", "internet > web, api > web"),
    "an empty list of peers is everybody": Case([policy(ingress=[{"from": []}])], "internet > web, monitor > db"),
    "an empty list of ports is every port": Case([policy(ingress=[{"ports": []}])], "internet > web:1/SCTP"),
    "limit a database to its client": Case(
        [policy(selects=_app("db"), ingress=_in(pods(_app("api"))))],
        "api > db, api > db:5/UDP, internet > web",
        "web > db, monitor > db, internet > db",
    ),
    "a pod selector means the policy's own namespace": Case(
        [policy(selects=_app("api"), ingress=_in(pods(_app("web"))))], "web > api", "web-dev > api"
    ),
    "an empty pod selector is every pod of the namespace": Case(
        [policy(ingress=_in(pods({})))], "api > web, web > db", "monitor > web, web-dev > web, internet > web"
    ),
    "refuse other namespaces": Case([policy(ingress=_in(pods({})))], "db > web", "web-dev > web, monitor > db"),
    "an empty namespace selector is every pod of every namespace": Case(
        [policy(ingress=_in(namespaces({})))], "monitor > web, web-dev > db, api > web", "internet > web"
    ),
    "a namespace by its label": Case(
        [policy(ingress=_in(namespaces(TEAM_PLATFORM)))], "monitor > web", "api > web, web-dev > web, internet > web"
    ),
    "a namespace by its name": Case(
        [policy(ingress=_in(namespaces({"matchLabels": {"kubernetes.io/metadata.name": "dev"}})))],
        "web-dev > db",
        "monitor > db, api > db",
    ),
    "several namespaces by an expression": Case(
        [policy(ingress=_in(namespaces({"matchExpressions": [{"key": "team", "operator": "Exists"}]})))],
        "monitor > db, api > db",
        "web-dev > db",
    ),
    "all namespaces but one": Case(
        [
            policy(
                ingress=_in(
                    namespaces(
                        {
                            "matchExpressions": [
                                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["ops"]}
                            ]
                        }
                    )
                )
            )
        ],
        "web-dev > db, api > db",
        "monitor > db",
    ),
    "a namespace and a pod selector in one peer: both": Case(
        [policy(ingress=_in(namespaces(TEAM_PLATFORM, _app("monitor"))))], "monitor > web", "api > web, web-dev > web"
    ),
    "both in one peer, where no pod there fits": Case(
        [policy(ingress=_in(namespaces(TEAM_PLATFORM, _app("web"))))], "", "monitor > web, web-dev > web, web > db"
    ),
    "a namespace and a pod selector in two peers: either": Case(
        [policy(ingress=_in(namespaces(TEAM_PLATFORM), pods(_app("api"))))], "monitor > web, api > web", "web-dev > web"
    ),
    "pods by an expression": Case(
        [policy(selects={"matchExpressions": [{"key": "tier", "operator": "In", "values": ["back"]}]})],
        "internet > web",
        "web > api, web > db",
    ),
    "pods without a label": Case(
        [policy("ops", selects={"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]})],
        "internet > web, web > db",
        "web > monitor",
    ),
    "one port": Case(
        [policy(ingress=_in(ports=[tcp(80)]))], "internet > web:80", "internet > web:81, api > web:80/UDP"
    ),
    "a protocol without a port is all of it": Case(
        [policy(ingress=_in(ports=[{"protocol": "UDP"}]))], "internet > web:1/UDP, api > db:65535/UDP", "api > db:1"
    ),
    "SCTP": Case(
        [policy(ingress=_in(ports=[{"protocol": "SCTP", "port": 7777}]))], "api > db:7777/SCTP", "api > db:7777"
    ),
    "a range of ports": Case(
        [policy(ingress=_in(ports=[tcp(8000, 8010)]))],
        "api > db:8000, api > db:8005, api > db:8010",
        "api > db:7999, api > db:8011, api > db:8005/UDP",
    ),
    "a port by name is the pod's own": Case(
        [policy(ingress=_in(ports=[tcp("http")]))],
        "internet > web:8080, internet > api:9000",
        "internet > api:8080, internet > db:8080, internet > web:80",
    ),
    "a port by name of another protocol is none": Case([policy(ingress=_in(ports=[tcp("dns")]))], "", "api > web:53"),
    "a port by name on the way out is that of who is called": Case(
        [policy(selects=_app("db"), types=["Egress"], egress=_out(pods({}), ports=[tcp("http")]))],
        "db > web:8080, db > api:9000",
        "db > api:8080, db > web:9000, db > internet:8080",
    ),
    "names and numbers of ports on the way out": Case(
        [policy(selects=_app("db"), types=["Egress"], egress=_out(ports=[tcp("http"), tcp(443)]))],
        "db > web:8080, db > internet:443, db > api:443",
        "db > internet:8080",
    ),
    "peers and ports of one rule: both must fit": Case(
        [policy(selects=_app("db"), ingress=_in(pods(_app("api")), ports=[tcp(5432)]))],
        "api > db:5432",
        "api > db:80, web > db:5432",
    ),
    "two rules: either": Case(
        [policy(selects=_app("db"), ingress=[*_in(pods(_app("api")), ports=[tcp(5432)]), *_in(pods(_app("web")))])],
        "api > db:5432, web > db:80",
        "api > db:80, monitor > db:5432",
    ),
    "two policies add up": Case(
        [policy(), policy(selects=_app("web"), ingress=_in(ports=[tcp(80)]))], "internet > web:80", "internet > db:80"
    ),
    "a policy for each way": Case(
        [
            policy(types=["Egress"], egress=_out(pods(_app("db")))),
            policy(selects=_app("db"), ingress=_in(pods(_app("api")))),
        ],
        "api > db",
        "web > db, api > internet, monitor > db",
    ),
    "both ends must allow it": Case(
        [policy(selects=_app("api"), types=["Egress"], egress=_out(pods(_app("db")))), policy(selects=_app("db"))],
        "",
        "api > db",
    ),
    "a range of addresses": Case(
        [policy(ingress=_in(block("172.17.0.0/16")))], "office > web, neighbour > db", "internet > web, api > web"
    ),
    "a range of addresses but for a part": Case(
        [policy(ingress=_in(block("172.17.0.0/16", "172.17.1.0/24")))], "neighbour > web", "office > web"
    ),
    "a range whose exception is all of it": Case(
        [policy(ingress=_in(block("172.17.0.0/16", "172.16.0.0/12")))], "", "neighbour > web, office > web"
    ),
    "a range of addresses holds pods, too": Case(
        [policy(ingress=_in(block("10.0.0.0/24", "10.0.0.2/32")))], "web > db, monitor > db", "api > db, internet > db"
    ),
    "ranges of IPv6 are nobody's": Case([policy(ingress=_in(block("2001:db8::/32")))], "", "internet > web, api > web"),
    "the world, but not the cluster": Case(
        [policy(types=["Egress"], egress=_out(block("0.0.0.0/0", "10.0.0.0/8")))],
        "web > internet, web > office",
        "web > db, web > monitor",
    ),
    "only DNS may go out": Case(
        [policy(types=["Egress"], egress=_out(ports=[{"protocol": "UDP", "port": 53}, tcp(53)]))],
        "web > internet:53/UDP, web > internet:53",
        "web > internet:80, web > db",
    ),
    "upstream's example": Case(
        [
            policy(
                selects=_app("db"),
                types=["Ingress", "Egress"],
                ingress=_in(
                    block("172.17.0.0/16", "172.17.1.0/24"),
                    namespaces(TEAM_PLATFORM),
                    pods({"matchLabels": {"tier": "front"}}),
                    ports=[tcp(6379)],
                ),
                egress=_out(block("10.0.0.0/24"), ports=[tcp(5978)]),
            )
        ],
        "neighbour > db:6379, monitor > db:6379, web > db:6379, db > web:5978",
        "office > db:6379, api > db:6379, web > db:80, db > web:80, db > internet:5978, web-dev > db:6379",
    ),
    "pods of another network aren't peers": Case(
        [policy(selects=_app("db"), ingress=_in(pods(_app("api"))))], "api > db", "elsewhere > db"
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_passes(name: str) -> None:
    case = CASES[name]
    wrong = [text for text in _connections(case.passing) if not passes(case.policies, *_connection(text))]
    wrong += [text for text in _connections(case.refused) if passes(case.policies, *_connection(text))]
    assert wrong == []


def _connections(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _connection(text: str) -> tuple[str, str, int, str]:
    source, target = text.split(" > ")
    target, _, rest = target.partition(":")
    port, _, protocol = rest.partition("/")
    return source, target, int(port or 80), protocol or "TCP"


def test_a_pod_that_no_policy_selects_is_open() -> None:
    assert _of([policy(selects=_app("db"))], PODS["web"]) == OPEN


def test_the_order_of_policies_and_pods_changes_nothing() -> None:
    policies = [policy(ingress=_in(pods({}))), policy(ingress=_in(block("172.17.0.0/16"))), policy()]
    other_way = Surroundings(NAMESPACES, tuple(PODS.values())[::-1])
    assert port_policy(policies[::-1], PODS["web"], other_way) == _of(policies, PODS["web"])


def test_a_namespace_that_is_not_known_has_no_peers() -> None:
    unknown = Surroundings({"shop": {}}, AROUND.places)
    found = port_policy([policy(ingress=_in(namespaces({})))], PODS["web"], unknown)
    assert found.ingress is not None
    assert "10.0.0.4/32" not in str(found)


def test_peers_of_one_rule_do_not_overlap() -> None:
    found = _of([policy(ingress=_in(pods({}), block("10.0.0.0/24"), block("10.0.0.0/30")))], PODS["web"])
    assert found.ingress == (Allowance(("10.0.0.0/24",), None),)


_ADDRESSES = st.integers(0, 255).map(lambda number: f"192.0.2.{number}")


@given(
    cidr=st.integers(24, 32).map(lambda length: f"192.0.2.0/{length}"),
    holes=st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=5),
    address=_ADDRESSES,
)
def test_a_range_without_its_exceptions(cidr: str, holes: list[tuple[int, int]], address: str) -> None:
    excepted = [str(ipaddress.ip_network((f"192.0.2.{first}", length), strict=False)) for first, length in holes]
    found = _of([policy(ingress=_in(block(cidr, *excepted)))], PODS["web"])
    own = ipaddress.ip_address(address)
    wanted = own in ipaddress.ip_network(cidr) and not any(own in ipaddress.ip_network(hole) for hole in excepted)
    peers = [peer for allowance in found.ingress or () for peer in allowance.peers or ()]
    assert any(own in ipaddress.ip_network(peer) for peer in peers) is wanted


def test_a_port_range_of_a_protocol_alone_is_all_of_it() -> None:
    found = _of([policy(ingress=_in(ports=[{"protocol": "UDP"}]))], PODS["web"])
    assert found.ingress == (Allowance(None, (PortRange("UDP", 0, 65535),)),)
