"""docs/pod-support.md: what becomes of every field of a pod's spec. `python -m tests.podsupport.document` writes it.

A field is shown by a test on a real machine (marked with `shows`), works before the node sees the pod (`ELSEWHERE`),
or is refused by the node (`hypernetes.nodeagent.refusals`). A unit test holds it against the schema, the marks and the
refusals, so that no field is left out and no test named that isn't there.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

from hypernetes.nodeagent.refusals import REFUSED
from tests.podsupport.fields import fields

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY / "docs" / "pod-support.md"
SHOWING = "tests/integration/pods"

_SCHEDULER = "tests/unit/scheduler/test_filters_naive.py::test_the_mask_is_what_looking_at_each_node_gives"
_LEFT_ALONE = "tests/unit/scheduler/test_loop.py::test_pods_of_others_and_gated_ones_are_left_alone"
_ADMISSION = "tests/unit/apiserver/admission"
# Fields that do their work before a node sees the pod, or between nodes: who does it, and a test of that.
ELSEWHERE: dict[str, tuple[str, str]] = {
    "PodSpec.affinity": (
        "scheduler, as its parts say",
        "tests/unit/scheduler/test_cycle.py::test_a_preferred_affinity_is_preferred_but_not_required",
    ),
    "Affinity.podAffinity": (
        "scheduler",
        "tests/unit/scheduler/test_neighbours.py::test_a_pod_goes_where_such_pods_are",
    ),
    "Affinity.podAntiAffinity": (
        "scheduler",
        "tests/unit/scheduler/test_neighbours.py::test_one_on_each_node_and_the_next_is_told_why",
    ),
    "PodSpec.topologySpreadConstraints": (
        "scheduler",
        "tests/unit/scheduler/test_neighbours.py::test_no_domain_has_more_than_the_least_and_the_skew",
    ),
    "PodSpec.preemptionPolicy": (
        "scheduler",
        "tests/unit/scheduler/test_loop.py::test_nobody_goes_for_a_pod_that_may_not_or_that_it_would_not_help",
    ),
    "Affinity.nodeAffinity": (
        "scheduler",
        "tests/unit/scheduler/test_cycle.py::test_a_required_affinity_needs_one_of_its_terms",
    ),
    "PodSpec.nodeSelector": ("scheduler", _SCHEDULER),
    "PodSpec.tolerations": ("scheduler", "tests/unit/scheduler/test_cycle.py::test_taints_and_tolerations"),
    "PodSpec.schedulerName": ("scheduler", _LEFT_ALONE),
    "PodSpec.schedulingGates": ("scheduler", _LEFT_ALONE),
    "PodSpec.os": (
        "hn-agent refuses any other than linux",
        "tests/unit/nodeagent/test_refusals.py::test_what_no_node_does_is_refused_by_name",
    ),
    "PodSpec.hostUsers": (
        "always so: a pod's root is none of the node's users",
        "tests/integration/runtime/test_qemu.py::test_qemu_runs_unprivileged_in_a_session_of_its_own",
    ),
    "PodSpec.serviceAccount": (
        "admission: the old name of serviceAccountName",
        f"{_ADMISSION}/test_pods.py::test_a_pod_has_the_default_account_and_its_token",
    ),
    "ContainerPort.protocol": (
        "network policies and Services that name the port",
        "tests/unit/nodeagent/test_networkpolicies.py::test_what_passes",
    ),
    "PodSpec.nodeName": (
        "hn-agent follows its own pods",
        "tests/integration/scheduler/test_scheduling.py::"
        "test_pods_of_all_tenants_are_bound_and_those_that_do_not_fit_say_why",
    ),
    "PodSpec.priority": (
        "scheduler",
        "tests/unit/scheduler/test_queue.py::test_in_a_tenant_priority_comes_first_then_arrival",
    ),
    "PodSpec.priorityClassName": (
        "admission",
        f"{_ADMISSION}/test_classes.py::test_a_pod_has_the_number_of_its_class",
    ),
    "PodSpec.overhead": ("admission and quota", f"{_ADMISSION}/test_classes.py::test_overhead_is_compared_as_a_number"),
    "Volume.persistentVolumeClaim": (
        "shown on a whole cluster",
        "tests/e2e/test_volumes.py::test_what_is_acknowledged_survives_everything_that_dies",
    ),
    "Container.volumeDevices": (
        "shown on a whole cluster",
        "tests/e2e/test_volumes.py::test_a_device_is_given_as_one",
    ),
    "Volume.ephemeral": (
        "a claim of the pod's own",
        "tests/unit/nodeagent/storage/test_claims.py::test_a_pod_s_own_claim_must_be_its_own",
    ),
    "Volume.nfs": (
        "mounted in the machine",
        "tests/unit/nodeagent/storage/test_claims.py::test_a_share_is_mounted_from_its_server",
    ),
    "Volume.cinder": (
        "as a volume of the driver cinder.csi.openstack.org",
        "tests/unit/nodeagent/storage/test_claims.py::test_what_is_named_without_a_claim_is_of_cinder",
    ),
    "PodSpec.automountServiceAccountToken": (
        "admission",
        f"{_ADMISSION}/test_pods.py::test_the_pod_s_word_on_the_token_goes_before_the_account_s",
    ),
}


def marked() -> dict[str, list[str]]:
    """Tests by the field that they show."""
    found: dict[str, list[str]] = {}
    for path in sorted((REPOSITORY / SHOWING).glob("test_*.py")):
        module = importlib.import_module(f"{SHOWING.replace('/', '.')}.{path.stem}")
        for name, test in inspect.getmembers(module, inspect.isfunction):
            for mark in getattr(test, "pytestmark", ()):
                if mark.name == "shows" and test.__module__ == module.__name__:
                    for field in mark.args:
                        found.setdefault(field, []).append(f"{SHOWING}/{path.name}::{name}")
    return found


def known() -> list[str]:
    """The rows. What is below a field that is refused or none of the node's has none of its own."""
    return fields({*REFUSED, *ELSEWHERE} - {"PodSpec.affinity"})


def exists(test: str) -> bool:
    """Whether a test that is named by path and function is there."""
    path, _, name = test.partition("::")
    file = REPOSITORY / path
    return file.exists() and any(
        isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name == name
        for each in ast.walk(ast.parse(file.read_text()))
    )


def text() -> str:
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# What of a pod's spec works"
    yield ""
    yield "Made by `make pod-support`; don't edit. Every field of PodSpec and Container is here, by its type; what is"
    yield "below a field that isn't tested has no row. *Tested*: the test sees the effect of the field in a real"
    yield "machine, and fails when the field is taken out before hn-agent sees it (`pytest tests/integration/pods"
    yield "--drop-field NAME`). *Refused*: a pod that sets it waits, and an Event says so. *Elsewhere*: it does its"
    yield "work before the pod reaches a node."
    yield ""
    yield "| field | state | test or reason |"
    yield "|---|---|---|"
    tests = marked()
    for field in known():
        yield f"| {field} | {' | '.join(_state(field, tests))} |"


def _state(field: str, tests: dict[str, list[str]]) -> tuple[str, str]:
    refusal = REFUSED.get(field)
    partly = f"; other values are refused: {refusal.text}" if refusal is not None else ""
    if field in tests:
        return "tested", ", ".join(f"`{each.removeprefix(SHOWING + '/')}`" for each in tests[field]) + partly
    if refusal is not None:
        return "refused", refusal.text
    who, test = ELSEWHERE[field]
    return "elsewhere", f"{who}: `{test}`"


if __name__ == "__main__":
    DOCUMENT.write_text(text())
