"""What a whole tenant uses of its quota."""

from typing import Any

import pytest

from hypernetes.api import scheme
from hypernetes.apiserver.quota import Refused, whole

PODS, SERVICES, CLAIMS = (
    scheme.by_name("v1", name) for name in ("pods", "services", "persistentvolumeclaims")
)  # fmt: skip
NETWORKS = scheme.by_name("hypernetes.io/v1", "networks")
HARD = {"requests.cpu": "2", "limits.memory": "1Gi", "pods": "3", "storage": "10Gi", "floatingIPs": "2", "volumes": "1"}


def pod(phase: str = "Running", *, overhead: dict[str, str] | None = None, **resources: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "resources": resources}], **({"overhead": overhead} if overhead else {})}
    return {"kind": "Pod", "metadata": {"name": "p"}, "spec": spec, "status": {"phase": phase}}


def test_names_are_those_of_the_kind_and_of_cluster_scoped_kinds_too() -> None:
    assert whole.names(PODS, HARD) == ["requests.cpu", "limits.memory", "pods"]
    assert whole.names(CLAIMS, HARD) == ["storage", "volumes"]
    assert whole.names(SERVICES, HARD) == ["floatingIPs"]
    assert whole.names(NETWORKS, {"count/networks.hypernetes.io": "2", "pods": "1"}) == ["count/networks.hypernetes.io"]


def test_a_pod_counts_with_its_overhead_and_what_it_asks_for_where_it_has_no_limit() -> None:
    asked = pod(requests={"cpu": "1", "memory": "100Mi"}, overhead={"cpu": "250m", "memory": "64Mi"})
    names = ["requests.cpu", "limits.memory", "pods"]
    assert whole.used_by(PODS, asked, names) == {"requests.cpu": "1250m", "limits.memory": "164Mi", "pods": "1"}
    assert whole.used_by(PODS, pod("Succeeded", requests={"cpu": "1"}), names) == {}


def test_a_volume_and_an_address_count_by_their_short_names() -> None:
    claim = {"spec": {"resources": {"requests": {"storage": "4Gi"}}}}
    assert whole.used_by(CLAIMS, claim, ["storage", "volumes"]) == {"storage": "4Gi", "volumes": "1"}
    for spec, count in (
        ({"type": "LoadBalancer"}, "1"), ({"type": "ClusterIP"}, "0"),
        ({"type": "NetworkProvider", "externalIPs": ["192.0.2.1", "192.0.2.2"]}, "2"),
    ):  # fmt: skip
        assert whole.used_by(SERVICES, {"spec": spec}, ["floatingIPs"]) == {"floatingIPs": count}


def test_a_write_is_counted_by_what_it_changes_and_refused_where_that_is_too_much() -> None:
    small, large = pod(requests={"cpu": "500m"}), pod(requests={"cpu": "1500m"})
    grown = whole.change(PODS, ["requests.cpu", "pods"], large, small)
    assert grown == {"requests.cpu": "1"}
    assert whole.charged(HARD, {"requests.cpu": "1", "pods": "1"}, grown) == {"requests.cpu": "2", "pods": "1"}
    with pytest.raises(Refused, match=r"exceeded quota of the tenant, requested: requests.cpu=1, used: .*, limited: "):
        whole.charged(HARD, {"requests.cpu": "1500m", "pods": "1"}, grown)
    assert whole.charged(HARD, {"requests.cpu": "1500m"}, grown, free=True) == {"requests.cpu": "2500m"}
    shrunk = whole.change(PODS, ["requests.cpu"], small, large)
    assert whole.charged(HARD, {"requests.cpu": "9"}, shrunk) == {"requests.cpu": "8"}
    assert whole.charged(HARD, {"requests.cpu": "500m"}, shrunk) == {"requests.cpu": "0"}
    assert whole.change(PODS, ["requests.cpu"], small, small) == {}


def test_what_is_bounded_must_be_said() -> None:
    whole.check_stated(pod(requests={"cpu": "1", "memory": "1Mi"}), HARD)
    with pytest.raises(Refused, match=r"must specify limits.memory for: c; requests.cpu for: c"):
        whole.check_stated(pod(), HARD)
