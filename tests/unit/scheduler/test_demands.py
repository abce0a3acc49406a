from typing import Any

from hypernetes.api.models.core_v1 import Pod
from hypernetes.scheduler.demands import Requirement, Tolerance, of_pod, requests
from tests.unit.scheduler.making import pod


def _container(cpu: str, memory: str = "", **more: Any) -> dict[str, Any]:
    given = {"cpu": cpu, **({"memory": memory} if memory else {})}
    return {"name": "c", "resources": {"requests": given}, **more}


def _pod(**spec: Any) -> Pod:
    return Pod.from_dict({"metadata": {"name": "p"}, "spec": spec})


def test_a_pod_without_requests_counts_as_a_pod() -> None:
    assert requests(_pod(containers=[{"name": "c"}])) == {"pods": 1}


def test_containers_add_up_in_millicores_and_bytes() -> None:
    assert requests(_pod(containers=[_container("250m", "64Mi"), _container("1", "64Mi")])) == {
        "cpu": 1250,
        "memory": 128 * 2**20,
        "pods": 1,
    }


def test_the_largest_init_container_counts_where_it_exceeds_the_containers() -> None:
    spec = {
        "containers": [_container("1", "64Mi")],
        "initContainers": [_container("500m", "256Mi"), _container("2", "1Mi")],
    }
    assert requests(_pod(**spec)) == {"cpu": 2000, "memory": 256 * 2**20, "pods": 1}


def test_a_sidecar_counts_beside_the_containers_and_the_later_init_containers() -> None:
    sidecar = _container("300m", restartPolicy="Always")
    before, after = _container("2"), _container("1900m")
    spec = {"containers": [_container("1")], "initContainers": [before, sidecar, after]}
    assert requests(_pod(**spec))["cpu"] == 2200
    assert requests(_pod(containers=[_container("1")], initContainers=[sidecar]))["cpu"] == 1300


def test_a_request_for_the_whole_pod_replaces_the_containers() -> None:
    spec = {"containers": [_container("1", "64Mi")], "resources": {"requests": {"cpu": "3"}}}
    assert requests(_pod(**spec)) == {"cpu": 3000, "memory": 64 * 2**20, "pods": 1}


def test_overhead_is_added() -> None:
    assert requests(_pod(containers=[_container("1")], overhead={"cpu": "250m"}))["cpu"] == 1250


def test_absurd_amounts_stay_countable() -> None:
    assert requests(_pod(containers=[_container("1", "900E")] * 100))["memory"] < 2**53


def test_pods_of_one_template_have_equal_demands() -> None:
    spec: dict[str, Any] = {
        "nodeSelector": {"disk": "ssd", "zone": "a"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}, {"operator": "Exists", "effect": "NoExecute"}],
    }
    one, two = of_pod(pod("a", cpu="1", **spec)), of_pod(pod("b", cpu="1000m", **spec))
    assert one == two
    assert hash(one) == hash(two)
    assert one.selector == (Requirement("disk", "In", ("ssd",)), Requirement("zone", "In", ("a",)))
    assert one.tolerances == (Tolerance("gpu", None, None), Tolerance(None, None, "NoExecute"))
