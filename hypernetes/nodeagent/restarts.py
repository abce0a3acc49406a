"""When a container that ended is started again.

The rule is upstream's: the first restart is immediate, the next waits 10 s, then 20 s and so on up to 5 min; a
container that ran for 10 min starts over (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy).
The longest wait is the node's to choose, as with the kubelet's `maxContainerRestartPeriod` (KEP-4603).
"""

from hypernetes.api.models.core_v1 import Container, Pod

INITIAL_DELAY_SECONDS = 10.0
MAX_DELAY_SECONDS = 300.0
RESET_AFTER_SECONDS = 600.0


def restarts(pod: Pod, container: Container, exit_code: int) -> bool:
    """Whether a container that ended so runs again: by the first of its rules that matches, or its own restartPolicy,
    or else the pod's (KEP-5307)."""
    for rule in container.restart_policy_rules:
        if rule.exit_codes is not None and (exit_code in rule.exit_codes.values) == (rule.exit_codes.operator == "In"):
            return True
    match container.restart_policy or pod.spec.restart_policy:
        case "Never":
            return False
        case "OnFailure":
            return exit_code != 0
    return True


def following_attempt_delay(delay: float) -> float:
    """As `following_delay`, for what the machine refused: that passes sooner than a program's own defect."""
    return 1.0 if delay <= 0 else min(delay * 2, MAX_DELAY_SECONDS)


def following_delay(delay: float, longest: float = MAX_DELAY_SECONDS) -> float:
    """The delay (seconds) before the restart after the one that waited `delay`."""
    return min(INITIAL_DELAY_SECONDS if delay <= 0 else delay * 2, longest)


def delay_after_run(delay: float, ran_seconds: float) -> float:
    """The delay before the next restart of a container that ran for `ran_seconds` and was due to wait `delay`."""
    return 0.0 if ran_seconds >= RESET_AFTER_SECONDS else delay
