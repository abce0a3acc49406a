"""What a pod's containers do next, case by case. A state is w(aiting), r(unning), or an exit code."""

from typing import Any

import pytest

from hypernetes.api.models.core_v1 import EphemeralContainer, Pod
from hypernetes.nodeagent.containers import ContainerRecord, Phase, Run
from hypernetes.nodeagent.lifecycle import Decision, decide

NOW = 1000.0
State = str | int


def pod(policy: str, init: dict[str, State], main: dict[str, State]) -> Pod:
    """Init containers named `side…` are sidecars."""
    first: list[dict[str, Any]] = [
        {"name": name, "image": "i", **({"restartPolicy": "Always"} if name.startswith("side") else {})}
        for name in init
    ]
    rest = [{"name": name, "image": "i"} for name in main]
    return Pod.from_dict({"spec": {"restartPolicy": policy, "initContainers": first, "containers": rest}})


def record(name: str, state: State, *, delay: float = 0.0) -> ContainerRecord:
    made = ContainerRecord(name)
    if state != "w":
        made.attempt, made.phase, made.started = 0, Phase.RUNNING, True
    if isinstance(state, int):
        made.phase, made.started, made.delay = Phase.EXITED, False, delay
        made.ended = Run(made.id, state, "", "", NOW - 5, NOW - 1)
    return made


@pytest.mark.parametrize(
    ("policy", "init", "main", "expected"),
    [
        ("Always", {}, {"a": "w", "b": "w"}, Decision(start=("a", "b"))),
        ("Always", {}, {"a": "r", "b": "r"}, Decision()),
        ("Always", {}, {"a": 0, "b": "r"}, Decision(start=("a",))),
        ("OnFailure", {}, {"a": 0, "b": "r"}, Decision()),
        ("OnFailure", {}, {"a": 3, "b": 0}, Decision(start=("a",))),
        ("OnFailure", {}, {"a": 0, "b": 0}, Decision(finished="Succeeded")),
        ("Never", {}, {"a": 3, "b": "r"}, Decision()),
        ("Never", {}, {"a": 3, "b": 0}, Decision(finished="Failed")),
        ("Never", {}, {"a": 0, "b": 0}, Decision(finished="Succeeded")),
        ("Always", {"i": "w", "j": "w"}, {"a": "w"}, Decision(start=("i",))),
        ("Always", {"i": "r", "j": "w"}, {"a": "w"}, Decision()),
        ("Always", {"i": 0, "j": "w"}, {"a": "w"}, Decision(start=("j",))),
        ("Always", {"i": 0, "j": 0}, {"a": "w"}, Decision(start=("a",))),
        ("Always", {"i": 1}, {"a": "w"}, Decision(start=("i",))),
        ("Never", {"i": 1}, {"a": "w"}, Decision(finished="Failed")),
        ("Never", {"side": "w", "i": "w"}, {"a": "w"}, Decision(start=("side",))),
        ("Never", {"side": "r", "i": "w"}, {"a": "w"}, Decision(start=("i",))),
        ("Never", {"side": 1, "i": 0}, {"a": "r"}, Decision(start=("side",))),
        ("Never", {"side": "r"}, {"a": 0}, Decision(finished="Succeeded")),
    ],
)
def test_what_is_started_and_when_a_pod_ends(
    policy: str, init: dict[str, State], main: dict[str, State], expected: Decision
) -> None:
    records = {name: record(name, state) for name, state in {**init, **main}.items()}
    assert decide(pod(policy, init, main), records, NOW) == expected


def test_a_restart_waits_for_its_delay_and_says_until_when() -> None:
    records = {"a": record("a", 1, delay=10.0), "b": record("b", 1, delay=40.0)}
    made = pod("Always", {}, {"a": 1, "b": 1})
    assert decide(made, records, NOW) == Decision(wake_at=NOW + 9)
    assert decide(made, records, NOW + 9) == Decision(start=("a",), wake_at=NOW + 39)


def test_a_container_that_was_added_starts_whatever_the_others_do_and_never_again() -> None:
    made = pod("Always", {"i": "r"}, {"a": "w"})
    made.spec.ephemeral_containers = [EphemeralContainer(name="debug", image="i")]
    records = {"i": record("i", "r"), "a": record("a", "w"), "debug": record("debug", "w")}
    assert decide(made, records, NOW) == Decision(start=("debug",))
    assert decide(made, {**records, "debug": record("debug", 1)}, NOW) == Decision()


def test_the_end_of_a_pod_does_not_wait_for_a_container_that_was_added() -> None:
    made = pod("Never", {}, {"a": 0})
    made.spec.ephemeral_containers = [EphemeralContainer(name="debug", image="i")]
    assert decide(made, {"a": record("a", 0), "debug": record("debug", "r")}, NOW) == Decision(finished="Succeeded")
