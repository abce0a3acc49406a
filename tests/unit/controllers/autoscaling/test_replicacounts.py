"""How many replicas a metric asks for: the formula of the documentation, and pods that don't count."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hypernetes.api import times
from hypernetes.api.models.core_v1 import Pod
from hypernetes.controllers.autoscaling import replicacounts
from hypernetes.controllers.autoscaling.replicacounts import NotCountable, Sample, Situation, Tolerance

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)
DEFAULT = Tolerance()


def pod(
    name: str, *, cpu: str | None = "1", ready: str = "True", phase: str = "Running", changed: datetime = LONG_AGO,
    started: datetime = LONG_AGO, **metadata: Any,
) -> Pod:  # fmt: skip
    container: dict[str, Any] = {"name": "c", "image": "i"}
    if cpu is not None:
        container["resources"] = {"requests": {"cpu": cpu}}
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": times.format_time(changed)}
    status = {"phase": phase, "startTime": times.format_time(started), "conditions": [condition]}
    return Pod.from_dict(
        {"metadata": {"name": name, **metadata}, "spec": {"containers": [container]}, "status": status}
    )


def measured(*values: int) -> dict[str, Sample]:
    return {f"p{number}": Sample(value, NOW, 15) for number, value in enumerate(values)}


def situation(*pods: Pod, replicas: int | None = None, tolerance: Tolerance = DEFAULT) -> Situation:
    return Situation(len(pods) if replicas is None else replicas, pods, NOW, tolerance)


def several(count: int) -> list[Pod]:
    return [pod(f"p{number}") for number in range(count)]


@pytest.mark.parametrize(
    ("values", "target", "wanted"),
    [
        ((200, 200), 100, 4),  # the documentation's: 200m where 100m is wanted doubles
        ((50, 50), 100, 1),
        ((109, 109), 100, 2),  # within a tenth nothing is done
        ((110, 110), 100, 2),
        ((111, 111), 100, 3),
        ((90, 90), 100, 2),
        ((89, 89), 100, 2),  # ceil(2 * 0.89)
        ((0, 0), 100, 0),
    ],
)
def test_replicas_follow_the_ratio_of_current_to_wanted(values: tuple[int, ...], target: int, wanted: int) -> None:
    count = replicacounts.by_average(measured(*values), target, "cpu", situation(*several(2)))
    assert count.replicas == wanted
    assert count.average == sum(values) // 2


@pytest.mark.parametrize(("values", "wanted", "utilization"), [((300, 500, 700), 5, 50), ((900, 950, 700), 9, 85)])
def test_utilization_is_of_all_requests_together(values: tuple[int, ...], wanted: int, utilization: int) -> None:
    count = replicacounts.by_utilization(measured(*values), 30, "cpu", situation(*several(3)))
    assert (count.replicas, count.utilization) == (wanted, utilization)


def test_a_tolerance_of_ones_own_counts() -> None:
    wide = Tolerance(down=0.5, up=1.0)
    assert replicacounts.by_average(measured(200), 100, "cpu", situation(pod("p0"), tolerance=wide)).replicas == 1
    assert replicacounts.by_average(measured(201), 100, "cpu", situation(pod("p0"), tolerance=wide)).replicas == 3


def test_a_pod_without_a_request_has_no_utilization() -> None:
    with pytest.raises(NotCountable, match="missing request for cpu in container c of Pod p0"):
        replicacounts.by_utilization(measured(1), 50, "cpu", situation(pod("p0", cpu=None)))


def test_requests_of_the_pod_as_a_whole_stand_for_its_containers() -> None:
    one = pod("p0", cpu=None).to_dict()
    one["spec"]["resources"] = {"requests": {"cpu": "2"}}
    count = replicacounts.by_utilization(measured(1000), 50, "cpu", situation(Pod.from_dict(one)))
    assert count.utilization == 50


def test_a_sidecars_request_counts_and_an_init_containers_does_not() -> None:
    one = pod("p0").to_dict()
    one["spec"]["initContainers"] = [
        {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
        {"name": "once", "resources": {"requests": {"cpu": "8"}}},
    ]
    at = situation(Pod.from_dict(one))
    assert replicacounts.by_utilization(measured(1000), 50, "cpu", at).utilization == 50
    assert replicacounts.by_utilization(measured(1000), 50, "cpu", at, "c").utilization == 100


def test_a_pod_without_metrics_holds_back_a_scale_down() -> None:
    # Two at 10 % and one unknown, taken as 100 %: (10 + 10 + 100) / 3 = 40 % of a target of 50 %.
    count = replicacounts.by_utilization(measured(100, 100), 50, "cpu", situation(*several(3)))
    assert count.replicas == 3
    assert count.utilization == 10


def test_a_pod_without_metrics_holds_back_a_scale_up() -> None:
    # Two at 90 % and one taken as idle: 60 % of a target of 50 %, ratio 1.2, of three pods.
    count = replicacounts.by_utilization(measured(900, 900), 50, "cpu", situation(*several(3)))
    assert count.replicas == 4


def test_a_guess_never_turns_the_direction_around() -> None:
    # Busy by what is measured, idle with the unknown ones as nothing.
    count = replicacounts.by_utilization(measured(600), 50, "cpu", situation(*several(4)))
    assert count.replicas == 4


def test_a_pod_that_is_starting_counts_as_idle_while_others_are_busy() -> None:
    young = pod("p2", ready="False", started=NOW, changed=NOW)
    at = situation(pod("p0"), pod("p1"), young)
    assert replicacounts.by_utilization(measured(900, 900, 1000), 50, "cpu", at).replicas == 4
    # And not at all while they are idle.
    assert replicacounts.by_utilization(measured(100, 100, 1000), 50, "cpu", at).replicas == 1


@pytest.mark.parametrize(
    ("made", "is_ready"),
    [
        (pod("p0"), True),
        (pod("p0", phase="Pending"), False),
        (pod("p0", ready="False", started=NOW - timedelta(minutes=4)), False),
        # Ready for less than the window of its sample, in its first five minutes.
        (pod("p0", started=NOW - timedelta(minutes=4), changed=NOW - timedelta(seconds=5)), False),
        (pod("p0", started=NOW - timedelta(minutes=4), changed=NOW - timedelta(seconds=20)), True),
        (pod("p0", started=NOW - timedelta(minutes=6), changed=NOW - timedelta(seconds=5)), True),
        # Unready since shortly after its start: it never was ready.
        (pod("p0", ready="False", changed=LONG_AGO + timedelta(seconds=29)), False),
        (pod("p0", ready="False", changed=LONG_AGO + timedelta(seconds=31)), True),
    ],
)
def test_cpu_counts_once_a_pod_has_started(made: Pod, is_ready: bool) -> None:
    groups = replicacounts.group([made], measured(1), "cpu", NOW)
    assert (groups.ready, groups.unready) == ((frozenset({"p0"}), frozenset()), (frozenset(), frozenset({"p0"})))[
        not is_ready
    ]


def test_memory_counts_from_the_first_moment() -> None:
    young = pod("p0", ready="False", started=NOW, changed=NOW)
    assert replicacounts.group([young], measured(1), "memory", NOW).ready == {"p0"}


def test_pods_that_end_count_in_no_way() -> None:
    ending = [pod("p0", deletionTimestamp="2030-01-01T00:00:00Z"), pod("p1", phase="Failed")]
    groups = replicacounts.group(ending, measured(1, 1), "cpu", NOW)
    assert not groups.ready | groups.unready | groups.missing


def test_no_pods_and_no_samples_are_told_apart() -> None:
    with pytest.raises(NotCountable, match="no pods returned by selector"):
        replicacounts.by_average({}, 1, "cpu", situation())
    with pytest.raises(NotCountable, match="did not receive metrics for targeted pods"):
        replicacounts.by_average({}, 1, "cpu", situation(pod("p0")))


def test_one_value_is_shared_by_the_ready_pods() -> None:
    at = situation(*several(3), pod("new", ready="False"))
    assert replicacounts.by_value(20_000, 10_000, at) == 6
    assert replicacounts.by_value(10_900, 10_000, at) == 4
    assert replicacounts.by_value(25_000, 10_000, situation(replicas=0)) == 3


def test_one_value_is_divided_among_replicas() -> None:
    count = replicacounts.by_share(21_000, 5_000, 3, situation(*several(3)))
    assert (count.replicas, count.average) == (5, 7_000)
    assert replicacounts.by_share(16_000, 5_000, 3, situation(*several(3))).replicas == 3
    assert replicacounts.by_share(16_000, 5_000, 0, situation(replicas=0)).replicas == 4
