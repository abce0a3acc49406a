"""What a Service's load balancer is asked for, without an Octavia."""

from dataclasses import replace
from typing import Any

import pytest

from hypernetes.providers.loadbalancer.base import Listener, LoadBalancerError, LoadBalancerSpec, Member, Pending
from hypernetes.providers.loadbalancer.octavia import balancers, configuration
from hypernetes.providers.loadbalancer.octavia.balancers import Options, Subnets
from hypernetes.providers.network.neutron.api import NeutronError

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


class FloatingNeutron(FakeNeutron):
    """Which has one floating IP at the load balancer, and refuses to make another as it says."""

    def __init__(self, refusal: NeutronError | None, *there: dict[str, Any]) -> None:
        self.refusal, self.there = refusal, there
        self.asked: list[tuple[str, Any]] = []

    def listed(self, kind: str, **query: str) -> list[dict[str, Any]]:
        if kind == "floatingips" and "port_id" in query:
            return [*self.there]
        return [{"id": "public", "name": "public"}] if kind == "networks" else super().listed(kind, **query)

    def create(self, kind: str, tags: list[str], **attributes: Any) -> dict[str, Any]:
        self.asked.append((f"create {kind}", attributes.get("floating_ip_address")))
        if self.refusal is not None:
            raise self.refusal
        return {"floating_ip_address": attributes["floating_ip_address"]}

    def update(self, kind: str, id: str, **attributes: Any) -> None:
        self.asked.append((f"update {kind}", attributes["port_id"]))

    def delete(self, kind: str, id: str) -> None:
        self.asked.append((f"delete {kind}", id))


ACTIVE = {"id": "b", "provisioning_status": "ACTIVE", "provider": "ovn", "vip_address": "10.0.0.9", "vip_port_id": "v"}
CLASSIC = replace(SPEC, listeners=(), address="23.23.0.30", inside=True)


def classic(neutron: FloatingNeutron, floating: str = "public") -> str:
    return balancers.ensure(FakeOctavia(**ACTIVE), neutron, "abc123", "ovn", floating, CLASSIC)  # type: ignore[arg-type]


def test_the_originals_type_is_told_its_address_inside_and_has_the_one_outside() -> None:
    neutron = FloatingNeutron(None)
    assert classic(neutron) == "10.0.0.9"
    assert neutron.asked == [("create floatingips", "23.23.0.30")]


def test_another_address_is_let_go_of_and_removed_where_it_was_made_here() -> None:
    own = {"id": "f", "floating_ip_address": "23.23.0.29", "tags": balancers.marks("abc123", "u")}
    for there, what in ((own, ("delete floatingips", "f")), ({**own, "tags": []}, ("update floatingips", None))):
        neutron = FloatingNeutron(None, there)
        classic(neutron)
        assert neutron.asked == [what, ("create floatingips", "23.23.0.30")]


def test_an_address_of_anothers_is_as_one_that_nobody_can_have() -> None:
    texts = set()
    for status, kind in ((409, "IpAddressInUse"), (400, "InvalidIpForNetwork")):
        with pytest.raises(LoadBalancerError) as refused:
            classic(FloatingNeutron(NeutronError("Refused", kind, kind, status)))
        texts.add((refused.value.reason, refused.value.message))
    assert len(texts) == 1
    assert "AddressNotAvailable" in {reason for reason, _ in texts}


def test_without_an_external_network_there_is_no_external_address() -> None:
    with pytest.raises(LoadBalancerError) as refused:
        classic(FloatingNeutron(None), floating="")
    assert refused.value.reason == "NoExternalNetwork"
