"""What a Service's load balancer is asked for, without an Octavia."""

from typing import Any

import pytest

from hypernetes.providers.loadbalancer.base import Listener, LoadBalancerError, LoadBalancerSpec, Member
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
