"""What a job's status may come to: ends are for good, counters only grow.

Rules of batch/v1 since other controllers may write it (KEP-4368).
"""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import templates
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_COUNTS = ("active", "ready", "succeeded", "failed", "terminating")
_ENDS = ("Complete", "Failed")
_LASTING = (*_ENDS, "FailureTarget", "SuccessCriteriaMet")


def validate(new: Object, old: Object) -> Causes:
    status, before = new.get("status") or {}, old.get("status") or {}
    causes = templates.non_negative(status, _COUNTS, "status")
    causes += templates.not_more(status, (("ready", "active"),))
    true, were_true = _true(status), _true(before)
    causes += _ended(status, true)
    for kind in _LASTING:
        if kind in were_true and kind not in true:
            why = f"cannot disable the terminal {kind}=True condition"
            causes += validation.invalid("status.conditions", kind, why)
    for name in ("failed", "succeeded"):
        if (status.get(name) or 0) < (before.get(name) or 0) and not _is_indexed(new):
            causes += validation.invalid(f"status.{name}", status.get(name) or 0, f"cannot decrease the {name} counter")
    return causes + _times(status, before, true, suspended=bool(new["spec"].get("suspend")))


def _ended(status: Object, true: set[str]) -> Causes:
    causes: Causes = []
    if not true.intersection(_ENDS):
        return causes
    if true.issuperset(_ENDS):
        why = "cannot set Complete=True and Failed=True conditions"
        causes += validation.invalid("status.conditions", "", why)
    for name in ("active", "ready", "terminating"):
        if status.get(name):
            causes += validation.invalid(f"status.{name}", status[name], f"{name}>0 is invalid for a finished job")
    if not status.get("startTime"):
        causes += validation.required("status.startTime", "startTime is required for a finished job")
    uncounted = status.get("uncountedTerminatedPods") or {}
    if uncounted.get("succeeded") or uncounted.get("failed"):
        why = "uncountedTerminatedPods needs to be empty for a finished job"
        causes += validation.invalid("status.uncountedTerminatedPods", "", why)
    if "Complete" in true and not status.get("completionTime"):
        causes += validation.required("status.completionTime", "completionTime is required for Complete jobs")
    for end, criterion in (("Complete", "SuccessCriteriaMet"), ("Failed", "FailureTarget")):
        if end in true and criterion not in true:
            why = f"cannot set {end}=True condition without the {criterion}=true condition"
            causes += validation.invalid("status.conditions", "", why)
    return causes


def _times(status: Object, before: Object, true: set[str], *, suspended: bool) -> Causes:
    causes: Causes = []
    started, was_started = status.get("startTime"), before.get("startTime")
    if was_started and started != was_started and not suspended:
        why = "cannot be modified for a job that isn't suspended"
        causes += (
            validation.invalid("status.startTime", started, why)
            if started
            else validation.required("status.startTime", why)
        )
    completed, was_completed = status.get("completionTime"), before.get("completionTime")
    path = "status.completionTime"
    if was_completed and completed != was_completed:
        causes += validation.invalid(path, completed, "field is immutable")
    if completed:
        if "Complete" not in true:
            causes += validation.invalid(path, completed, "can only be set for a job that is Complete")
        elif started and completed < started:
            causes += validation.invalid(path, completed, "cannot be before startTime")
    return causes


def _true(status: Object) -> set[str]:
    return {each.get("type", "") for each in status.get("conditions") or () if each.get("status") == "True"}


def _is_indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")  # whose indexes may be taken back as it shrinks
