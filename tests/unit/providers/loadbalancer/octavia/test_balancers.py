"""What a Service's load balancer is asked for, without an Octavia."""

from dataclasses import replace
from typing import Any

import pytest

from hypernetes.providers.loadbalancer.base import Listener, LoadBalancerError, LoadBalancerSpec, Member, Pending
from hypernetes.providers.loadbalancer.octavia import balancers, configuration
from hypernetes.providers.loadbalancer.octavia.balancers import Options, Subnets

SUBNETS = Subnets(
    [
        {"id": "six", "cidr": "fd00::/64", "ip_version": 6},
        {"id": "one", "cidr": "10.0.0.0/24", "ip_version": 4},
        {"id": "two", "cidr": "10.0.1.0/24", "ip_version": 4},
    ]
)
SPEC = LoadBalancerSpec(
    tenant="acme", project="p", uid="u", name="prod/web", network_id="n",
    listeners=(Listener("TCP", 80, frozenset({Member("10.0.1.5", 8080), Member("10.0.0.5", 8080)})),),
)  # fmt: skip
DOMAIN = "loadbalancer.openstack.org"


def tree(spec: LoadBalancerSpec = SPEC, provider: str = "ovn", options: Options | None = None) -> dict[str, Any]:
    return balancers.tree(spec, "abc123", provider, options or Options(), SUBNETS)


def test_a_load_balancer_is_made_by_one_call_that_holds_all_of_it() -> None:
    made = tree()
    assert made["tags"] == ["hypernetes", "hypernetes-cluster=abc123", "hypernetes-service=u"]
    [listener] = made["listeners"]
    assert (listener["protocol"], listener["protocol_port"]) == ("TCP", 80)
    assert listener["default_pool"]["members"] == [
        {"address": "10.0.0.5", "protocol_port": 8080, "subnet_id": "one"},
        {"address": "10.0.1.5", "protocol_port": 8080, "subnet_id": "two"},
    ]
    assert listener["default_pool"]["lb_algorithm"] == "SOURCE_IP_PORT"
    assert listener["default_pool"]["name"]


def test_an_amphora_takes_turns_and_has_timeouts() -> None:
    options = balancers.options({f"{DOMAIN}/timeout-client-data": "60000"})
    assert tree(options=options)["listeners"][0].keys() & {"timeout_client_data"} == set()
    [listener] = tree(provider="amphora", options=options)["listeners"]
    assert listener["timeout_client_data"] == 60000
    assert listener["default_pool"]["lb_algorithm"] == "ROUND_ROBIN"


def test_a_monitor_is_made_where_it_is_asked_for() -> None:
    options = balancers.options({f"{DOMAIN}/enable-health-monitor": "true", f"{DOMAIN}/health-monitor-delay": "7"})
    monitor = tree(options=options)["listeners"][0]["default_pool"]["healthmonitor"]
    assert (monitor["type"], monitor["delay"], monitor["timeout"]) == ("TCP", 7, 3)
    assert "healthmonitor" not in tree()["listeners"][0]["default_pool"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("enable-health-monitor", "yes"), ("health-monitor-delay", "-1"), ("timeout-client-data", "1e3"),
     ("health-monitor-timeout", "٣"), ("health-monitor-delay", "9" * 30)],
)  # fmt: skip
def test_an_annotation_that_cannot_be_meant_is_named(key: str, value: str) -> None:
    with pytest.raises(LoadBalancerError, match=key) as refused:
        balancers.options({f"{DOMAIN}/{key}": value})
    assert refused.value.reason == "InvalidAnnotation"


def test_a_network_without_ipv4_is_told() -> None:
    with pytest.raises(LoadBalancerError) as refused:
        Subnets([{"id": "six", "cidr": "fd00::/64", "ip_version": 6}])
    assert refused.value.reason == "NoSubnet"


def test_configuration_names_what_is_wrong(tmp_path: Any) -> None:
    file = tmp_path / "octavia.yaml"
    file.write_text("{cloud: a, password: b}")
    with pytest.raises(ValueError, match="password is not known"):
        configuration.read(file)
    file.write_text("{cloud: a, clouds: c.yaml, floatingNetwork: public}")
    found = configuration.read(file)
    assert (found.provider, found.floating_network, found.clouds) == ("ovn", "public", tmp_path / "c.yaml")


class FakeOctavia:
    """With at most one load balancer; each change leaves it pending for one look."""

    def __init__(self, **balancer: Any) -> None:
        self.balancer: dict[str, Any] | None = balancer or None
        self.asked: list[str] = []

    def listed(self, kind: str, **query: str) -> list[dict[str, Any]]:
        if kind == "loadbalancers":
            return [self.balancer] if self.balancer else []
        return []

    def create(self, kind: str, word: str, **attributes: Any) -> dict[str, Any]:
        self.asked.append(f"create {kind}")
        made = {"id": f"{word}-1", "provider": "ovn", "operating_status": "OFFLINE", "vip_port_id": "v"}
        if kind == "loadbalancers":
            self.balancer = {**made, "provisioning_status": "PENDING_CREATE", "vip_address": "10.0.0.9"}
            return self.balancer
        return made

    def delete(self, path: str) -> None:
        self.asked.append(f"delete {path}")

    def put(self, path: str, body: Any) -> None:
        self.asked.append(f"put {path}")

    def settled(self, id: str) -> dict[str, Any]:
        raise Pending("it is")


class FakeNeutron:
    def listed(self, kind: str, **query: str) -> list[dict[str, Any]]:
        return [{"id": "one", "cidr": "10.0.0.0/24", "ip_version": 4}] if kind == "subnets" else []

    def made(self, kind: str, tags: list[str], project: str) -> list[dict[str, Any]]:
        return []


def ensured(octavia: FakeOctavia, wanted: LoadBalancerSpec = SPEC) -> str:
    return balancers.ensure(octavia, FakeNeutron(), "abc123", "ovn", "", wanted)  # type: ignore[arg-type]


def test_nothing_is_waited_for_and_the_next_call_goes_on() -> None:
    octavia = FakeOctavia()
    for _ in range(3):
        with pytest.raises(Pending):
            ensured(octavia)
    assert octavia.asked == ["create loadbalancers"]
    assert octavia.balancer is not None
    octavia.balancer["provisioning_status"] = "ACTIVE"
    with pytest.raises(Pending):
        ensured(octavia)  # it has no listener
    assert octavia.asked == ["create loadbalancers", "create listeners"]
    assert ensured(octavia, replace(SPEC, listeners=())) == "10.0.0.9"


IN_ERROR = {"id": "b", "provisioning_status": "ERROR", "operating_status": "OFFLINE", "provider": "ovn"}


@pytest.mark.parametrize(
    ("balancer", "published"), [(IN_ERROR, "198.51.100.7"), ({**IN_ERROR, "operating_status": "ONLINE"}, "")]
)
def test_one_in_error_that_may_serve_is_left_alone(balancer: dict[str, Any], published: str) -> None:
    octavia = FakeOctavia(**balancer)
    with pytest.raises(LoadBalancerError, match="failover b") as refused:
        ensured(octavia, replace(SPEC, published=published))
    assert (refused.value.reason, octavia.asked) == ("InErrorState", [])


def test_one_in_error_that_nobody_knows_is_made_anew() -> None:
    octavia = FakeOctavia(**IN_ERROR)
    with pytest.raises(LoadBalancerError) as refused:
        ensured(octavia)
    assert (refused.value.reason, octavia.asked) == ("Failed", ["delete loadbalancers/b?cascade=true"])


def test_deleting_is_over_when_nothing_is_left() -> None:
    octavia = FakeOctavia(**IN_ERROR)

    def delete() -> None:
        balancers.delete(octavia, FakeNeutron(), "abc123", "p", "u")  # type: ignore[arg-type]

    with pytest.raises(Pending):
        delete()
    octavia.balancer = {**IN_ERROR, "provisioning_status": "PENDING_DELETE"}
    with pytest.raises(Pending):
        delete()
    octavia.balancer = None
    delete()
    assert octavia.asked == ["delete loadbalancers/b?cascade=true"]
