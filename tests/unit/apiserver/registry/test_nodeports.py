from typing import Any

import pytest

from hypernetes.apiserver.registry import nodeports


def ports(*named: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"name": name, "port": 80 + at, "protocol": "TCP", **({"nodePort": number} if number else {})}
            for at, (name, number) in enumerate(named)]  # fmt: skip


def spec(kind: str, *named: tuple[str, int], **more: Any) -> dict[str, Any]:
    return {"type": kind, "ports": ports(*named), **more}


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (spec("NodePort", ("a", 30001)), spec("NodePort", ("a", 0)), [30001]),
        (spec("NodePort", ("a", 30001), ("b", 30002)), spec("LoadBalancer", ("b", 0), ("a", 0)), [30002, 30001]),
        (spec("NodePort", ("a", 30001)), spec("NodePort", ("b", 30001), ("a", 0)), [30001]),  # it went to b
        (spec("NodePort", ("a", 30001)), spec("ClusterIP", ("a", 30001)), []),
        (spec("NodePort", ("a", 30001)), spec("ClusterIP", ("a", 30009)), [30009]),  # asked for; refused later
        (spec("ClusterIP", ("a", 0)), spec("NodePort", ("a", 0)), []),
        (spec("LoadBalancer", ("a", 30001)), spec("LoadBalancer", ("a", 30001), allocateLoadBalancerNodePorts=False),
         []),
    ],
)  # fmt: skip
def test_an_update_keeps_the_ports_that_it_does_not_name(
    before: dict[str, Any], after: dict[str, Any], wanted: list[int]
) -> None:
    nodeports.carry_over(after, before)
    assert [port["nodePort"] for port in after["ports"] if "nodePort" in port] == wanted


def test_the_port_of_health_checks_lasts_as_long_as_traffic_is_local() -> None:
    before = spec("LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30005)
    same, other = spec("LoadBalancer", externalTrafficPolicy="Local"), {**before, "externalTrafficPolicy": "Cluster"}
    nodeports.carry_over(same, before)
    nodeports.carry_over(other, before)
    assert same["healthCheckNodePort"] == 30005
    assert "healthCheckNodePort" not in other


def test_one_port_in_two_protocols_has_one_port_of_the_nodes() -> None:
    both = {
        "type": "NodePort",
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 54}],
    }
    numbers = iter([30001, 30002])
    service = {"spec": both}
    nodeports.assign(service, lambda has: next(numbers))
    assert [port["nodePort"] for port in both["ports"]] == [30001, 30001, 30002]
    assert nodeports.held(service) == [30001, 30002]


def test_what_is_chosen_knows_what_the_service_has_already() -> None:
    service = {"spec": spec("LoadBalancer", ("a", 30001), ("b", 0), externalTrafficPolicy="Local")}
    told: list[set[int]] = []

    def choose(has: set[int]) -> int:
        told.append(set(has))
        return 30010 + len(told)

    nodeports.assign(service, choose)
    assert told == [{30001}, {30001, 30011}]
    assert service["spec"]["healthCheckNodePort"] == 30012


@pytest.mark.parametrize(
    ("given", "causes"),
    [
        (spec("NodePort", ("a", 30001)), []),
        (spec("ClusterIP", ("a", 30001)), [("spec.ports[0].nodePort", "FieldValueForbidden")]),
        (spec("NodePort", ("a", 30001), ("b", 30001)), [("spec.ports[1].nodePort", "FieldValueDuplicate")]),
        (spec("NodePort", healthCheckNodePort=30001), [("spec.healthCheckNodePort", "FieldValueInvalid")]),
    ],
)
def test_ports_of_nodes_are_for_services_that_have_them(given: dict[str, Any], causes: list[tuple[str, str]]) -> None:
    assert [(cause["field"], cause["reason"]) for cause in nodeports.validate(given)] == causes
