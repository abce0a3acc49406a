"""Slices of a Service's backends: complete, within their size, and changed as little as can be."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.api.models.core_v1 import Service
from hypernetes.api.models.discovery_v1 import EndpointSlice
from hypernetes.controllers import endpointslices
from hypernetes.controllers.addresses import Backend, Port
from hypernetes.controllers.writes import Create, Delete, Update, Write

SERVICE = Service.from_dict({"metadata": {"name": "web", "namespace": "prod", "uid": "s"}, "spec": {}})


def backend(number: int, port: int = 80) -> Backend:
    ports = (Port("web", port, "TCP"),)
    return Backend(
        f"10.0.{number // 250}.{number % 250}",
        ports,
        True,
        True,
        False,
        f"p{number:04}",
        f"u{number}",
        "prod",
        "n1",
        None,
    )


def carried_out(writes: list[Write], slices: dict[str, EndpointSlice]) -> dict[str, EndpointSlice]:
    result = dict(slices)
    for write in writes:
        obj = write.obj
        assert isinstance(obj, EndpointSlice)
        name = obj.metadata.name or ""
        if isinstance(write, Delete):
            del result[name]
        else:
            assert isinstance(write, Create | Update)
            assert (name in result) is isinstance(write, Update)
            result[name] = obj
    return result


def members(slices: dict[str, EndpointSlice]) -> list[tuple[str, int]]:
    return sorted(
        (endpoint.target_ref.uid or "", entry.ports[0].port or 0)
        for entry in slices.values()
        for endpoint in entry.endpoints
        if endpoint.target_ref
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 350), st.integers(0, 350), st.sampled_from([80, 8080])), max_size=5))
def test_slices_always_hold_exactly_the_backends(steps: list[tuple[int, int, int]]) -> None:
    slices: dict[str, EndpointSlice] = {}
    for first, last, port in steps:
        wanted = [backend(number, port if number % 3 else 80) for number in range(first, last)]
        slices = carried_out(endpointslices.plan(SERVICE, wanted, list(slices.values())), slices)
        assert members(slices) == sorted((entry.pod_uid, entry.ports[0].number) for entry in wanted)
        assert all(len(entry.endpoints) <= endpointslices.CAPACITY for entry in slices.values())
        assert slices
        assert endpointslices.plan(SERVICE, wanted, list(slices.values())) == []


def test_one_pods_change_rewrites_one_slice() -> None:
    everything = [backend(number) for number in range(250)]
    slices = carried_out(endpointslices.plan(SERVICE, everything, []), {})
    assert sorted(len(entry.endpoints) for entry in slices.values()) == [50, 100, 100]
    writes = endpointslices.plan(SERVICE, [*everything[:120], *everything[121:]], list(slices.values()))
    assert [type(write) for write in writes] == [Update]


def test_a_service_without_backends_has_one_empty_slice() -> None:
    (write,) = endpointslices.plan(SERVICE, [], [])
    assert isinstance(write, Create)
    assert isinstance(write.obj, EndpointSlice)
    assert write.obj.endpoints == []
    assert write.obj.to_dict()["addressType"] == "IPv4"
