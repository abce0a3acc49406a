from typing import Any

import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver.admission import limitranger
from tests.unit.apiserver.admission.requests import Object, admitted, asking, made, pod


def limit_range(type: str = "Container", **limits: Any) -> Object:
    return made("LimitRange", "lr", spec={"limits": [{"type": type, **limits}]})


def sized(requests: Object | None = None, limits: Object | None = None, **spec: Any) -> Object:
    resources = {**({"requests": requests} if requests else {}), **({"limits": limits} if limits else {})}
    return pod(containers=[{"name": "c", "image": "x", "resources": resources}], **spec)


def claim(storage: str) -> Object:
    return made("PersistentVolumeClaim", "v", spec={"resources": {"requests": {"storage": storage}}})


def refusal(obj: Object, *there: Object, **how: Any) -> str:
    with pytest.raises(StatusError) as caught:
        admitted(asking(obj, *there, **how), limitranger.PODS, limitranger.RESIZED_PODS, limitranger.CLAIMS)
    assert caught.value.reason == "Forbidden"
    return caught.value.message


def test_containers_are_given_the_defaults_that_they_lack_and_the_pod_says_which():
    ranges = limit_range(default={"cpu": "500m", "memory": "1Gi"}, defaultRequest={"cpu": "100m"})
    asked = sized(requests={"cpu": "50m"}, initContainers=[{"name": "i", "image": "x"}])
    done = admitted(asking(asked, ranges), limitranger.PODS)
    assert done["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "50m"}, "limits": {"cpu": "500m", "memory": "1Gi"},
    }  # fmt: skip
    assert done["spec"]["initContainers"][0]["resources"]["requests"] == {"cpu": "100m"}
    assert done["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory limit for container c; "
        "cpu request for init container i; cpu, memory limit for init container i"
    )


def test_setting_defaults_twice_changes_nothing_more():
    ranges = limit_range(default={"cpu": "500m"}, defaultRequest={"cpu": "100m"})
    request = asking(pod(), ranges)
    once = repr(admitted(request, limitranger.PODS))
    assert repr(admitted(request, limitranger.PODS)) == once


def test_without_limit_ranges_a_pod_stays_as_it_is():
    assert admitted(asking(pod()), limitranger.PODS) == pod()


@pytest.mark.parametrize(
    ("limits", "asked", "why"),
    [
        ({"min": {"cpu": "100m"}}, sized(), "minimum cpu usage per Container is 100m.  No request is specified"),
        (
            {"min": {"cpu": "100m"}},
            sized({"cpu": "50m"}),
            "minimum cpu usage per Container is 100m, but request is 50m",
        ),
        (
            {"min": {"cpu": "100m"}},
            sized({"cpu": "100m"}, {"cpu": "90m"}),
            "minimum cpu usage per Container is 100m, but limit is 90m",
        ),
        ({"max": {"memory": "1Gi"}}, sized(), "maximum memory usage per Container is 1Gi.  No limit is specified"),
        (
            {"max": {"memory": "1Gi"}},
            sized(limits={"memory": "1025Mi"}),
            "maximum memory usage per Container is 1Gi, but limit is 1025Mi",
        ),
        (
            {"max": {"memory": "1Gi"}},
            sized({"memory": "2Gi"}, {"memory": "1Gi"}),
            "maximum memory usage per Container is 1Gi, but request is 2Gi",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            sized(limits={"cpu": "1"}),
            "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            sized({"cpu": "1"}),
            "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            sized({"cpu": "100m"}, {"cpu": "300m"}),
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3",
        ),
    ],
)
def test_a_container_out_of_bounds_is_refused(limits, asked, why):
    assert refusal(asked, limit_range(**limits)) == f'pods "p" is forbidden: {why}'


@pytest.mark.parametrize(
    ("limits", "asked"),
    [
        ({"min": {"cpu": "100m"}}, sized({"cpu": "0.1"})),
        ({"max": {"memory": "1Gi"}}, sized(limits={"memory": "1024Mi"})),
        ({"maxLimitRequestRatio": {"cpu": "2"}}, sized({"cpu": "100m"}, {"cpu": "200m"})),
    ],
)
def test_bounds_belong_to_what_is_allowed(limits, asked):
    admitted(asking(asked, limit_range(**limits)), limitranger.PODS)


def test_a_pod_is_bounded_as_a_whole():
    two = pod(containers=[{"name": n, "image": "x", "resources": {"limits": {"memory": "600Mi"}}} for n in "ab"])
    why = "maximum memory usage per Pod is 1Gi, but limit is 1200Mi"
    assert why in refusal(two, limit_range("Pod", max={"memory": "1Gi"}))
    admitted(asking(two, limit_range("Pod", max={"memory": "2Gi"})), limitranger.PODS)


@pytest.mark.parametrize(("storage", "why"), [("500Mi", "minimum storage"), ("6Gi", "maximum storage")])
def test_a_claim_is_bounded(storage, why):
    bounds = limit_range("PersistentVolumeClaim", min={"storage": "1Gi"}, max={"storage": "5Gi"})
    assert why in refusal(claim(storage), bounds)
    assert why in refusal(claim(storage), bounds, old=claim("2Gi"))
    admitted(asking(claim("1Gi"), bounds), limitranger.CLAIMS)
    admitted(asking(claim("5Gi"), bounds), limitranger.CLAIMS)


def test_several_problems_are_told_at_once():
    bounds = limit_range(min={"cpu": "1"}, max={"memory": "1Gi"})
    assert refusal(sized(), bounds).count("specified") == 2


def test_a_pod_that_is_there_is_looked_at_only_as_it_is_resized():
    bounds = limit_range(max={"cpu": "1"})
    big = sized(limits={"cpu": "2"})
    admitted(asking(big, bounds, old=sized()), limitranger.PODS, limitranger.RESIZED_PODS)
    assert "maximum cpu" in refusal(big, bounds, old=sized(), subresource="resize")
