"""Service tables: who is reached, and that equal input gives equal text."""

from typing import Any

from hypernetes.api.models.core_v1 import Service
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.nodeagent import services

CIDR = "10.254.0.0/16"


def service(name: str, address: str = "10.254.0.10", **spec: Any) -> Service:
    ports = spec.pop("ports", [{"port": 80}])
    return Service.from_dict(
        {"metadata": {"name": name, "namespace": "web"}, "spec": {"clusterIP": address, "ports": ports, **spec}}
    )


def endpoints(name: str, *addresses: str, port: int = 8080, protocol: str = "TCP", **conditions: bool) -> EndpointSlice:
    return EndpointSlice.from_dict(
        {
            "metadata": {"name": f"{name}-1", "namespace": "web", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"port": port, "protocol": protocol}],
            "endpoints": [{"addresses": [address], "conditions": conditions} for address in addresses],
        }
    )


def config(found: list[Service], slices: list[EndpointSlice], uid: str = "pod") -> services.ServiceConfig:
    return services.config(found, slices, pod_uid=uid, service_cidr=CIDR)


def servers(made: services.ServiceConfig) -> list[str]:
    lines = made.balancer.configuration().decode().splitlines()
    return sorted(line.split()[2] for line in lines if line.startswith("  server "))


def test_a_service_is_a_backend_with_all_its_ready_endpoints() -> None:
    made = config([service("web")], [endpoints("web", "10.0.0.5", "10.0.0.6", "10.0.0.7")])
    assert servers(made) == ["10.0.0.5:8080", "10.0.0.6:8080", "10.0.0.7:8080"]
    assert made.balancer.table() == b"10.254.0.10:80 slot0\n"


def test_order_of_input_does_not_change_the_text() -> None:
    one, two = service("a", "10.254.0.10"), service("b", "10.254.0.9")
    slices = [endpoints("a", "10.0.0.5", "10.0.0.6"), endpoints("b", "10.0.0.7")]
    assert config([one, two], slices) == config([two, one], slices[::-1])


def test_each_pod_begins_with_another_endpoint() -> None:
    slices = [endpoints("web", "10.0.0.5", "10.0.0.6", "10.0.0.7")]
    first = {
        services.tables([service("web")], slices, pod_uid=f"pod-{n}", service_cidr=CIDR)[0].targets[0]
        for n in range(30)
    }
    assert len(first) == 3


def test_unready_endpoints_are_left_out_until_there_is_no_other() -> None:
    unready = endpoints("web", "10.0.0.6", ready=False)
    ending = endpoints("web", "10.0.0.7", ready=False, serving=True, terminating=True)
    assert servers(config([service("web")], [endpoints("web", "10.0.0.5"), unready, ending])) == ["10.0.0.5:8080"]
    assert servers(config([service("web")], [unready, ending])) == ["10.0.0.7:8080"]


def test_a_service_without_endpoints_is_refused_not_forwarded() -> None:
    made = config([service("web")], [])
    assert made.balancer.table() == b""
    assert b"tcp-request connection reject" in made.balancer.configuration()
    assert b"redirect" not in made.nftables
    assert b"ip daddr 10.254.0.0/16 meta l4proto tcp reject with tcp reset" in made.nftables


def test_client_affinity_leaves_one_endpoint_that_others_coming_and_going_hardly_change() -> None:
    addresses = [f"10.0.0.{number}" for number in range(5, 25)]
    web = service("web", sessionAffinity="ClientIP")
    chosen = servers(config([web], [endpoints("web", *addresses)]))
    assert len(chosen) == 1
    others = [address for address in addresses if f"{address}:8080" not in chosen]
    assert servers(config([web], [endpoints("web", *others)])) != chosen
    assert servers(config([web], [endpoints("web", chosen[0].removesuffix(":8080"), *others[:10])])) == chosen


def test_udp_is_balanced_by_nftables() -> None:
    dns = service("dns", ports=[{"port": 53, "protocol": "UDP"}])
    made = config([dns], [endpoints("dns", "10.0.0.5", "10.0.0.6", port=5353, protocol="UDP")])
    rules = made.nftables.decode()
    assert "ip daddr 10.254.0.10 udp dport 53 dnat ip to numgen inc mod 2 map" in rules
    assert "10.0.0.5 . 5353" in rules
    assert servers(made) == []


def test_dns_and_the_api_are_left_to_the_guest() -> None:
    api = service("kubernetes", "10.254.0.1", ports=[{"port": 443}])
    made = config([api, service("odd", "10.254.0.2")], [endpoints("kubernetes", "192.0.2.1")])
    assert servers(made) == []
    assert "ip daddr { 10.254.0.2, 10.254.0.1 } return" in made.nftables.decode()


def test_addresses_outside_the_service_range_and_headless_services_have_no_table() -> None:
    found = [service("a", "192.168.0.1"), service("b", "None"), service("c", ""), service("d", type="ExternalName")]
    assert services.tables(found, [], pod_uid="p", service_cidr=CIDR) == []


def test_text_in_an_endpoints_address_never_reaches_the_configuration() -> None:
    hostile = endpoints("web", "10.0.0.5\n  server evil 1.2.3.4:80", "127.0.0.1", "169.254.169.254", "10.0.0.6")
    assert servers(config([service("web")], [hostile])) == ["10.0.0.6:8080"]
