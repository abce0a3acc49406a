"""Cells of what makes pods from a template, and of what belongs to it: scales, revisions, templates."""

from datetime import datetime
from typing import Any

from hypernetes.api.times import parse_time
from hypernetes.apiserver.tables.ages import age_of, duration, since
from hypernetes.apiserver.tables.labels import NONE, labels, selector

Object = dict[str, Any]

# The conditions of a job that its status column names, the weightiest first.
_JOB_ENDS = ("Complete", "Failed")
_JOB_STATES = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def deployment(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        obj["metadata"]["name"], f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0), status.get("availableReplicas", 0), age_of(obj, now),
        *_containers(spec), selector(spec.get("selector")),
    ]  # fmt: skip


def replica_set(obj: Object, now: datetime) -> list[Any]:
    return [*_replicas(obj, now), selector(obj.get("spec", {}).get("selector"))]


def replication_controller(obj: Object, now: datetime) -> list[Any]:
    return [*_replicas(obj, now), labels(obj.get("spec", {}).get("selector"))]


def stateful_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [obj["metadata"]["name"], ready, age_of(obj, now), *_containers(spec)]


def daemon_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    counts = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    nodes = ((spec.get("template") or {}).get("spec") or {}).get("nodeSelector")
    return [
        obj["metadata"]["name"], *(status.get(name, 0) for name in counts), status.get("numberAvailable", 0),
        labels(nodes), age_of(obj, now), *_containers(spec), selector(spec.get("selector")),
    ]  # fmt: skip


def job(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        obj["metadata"]["name"], _job_state(obj), _completions(spec, status), _job_duration(status, now),
        age_of(obj, now), *_containers(spec), selector(spec.get("selector")),
    ]  # fmt: skip


def cron_job(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    job_spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    last = status.get("lastScheduleTime")
    return [
        obj["metadata"]["name"], spec.get("schedule", ""), spec.get("timeZone") or NONE,
        "True" if spec.get("suspend") else "False", len(status.get("active") or ()), since(last, now) if last else NONE,
        age_of(obj, now), *_containers(job_spec), selector(job_spec.get("selector")),
    ]  # fmt: skip


def controller_revision(obj: Object, now: datetime) -> list[Any]:
    owner = next((each for each in obj["metadata"].get("ownerReferences") or () if each.get("controller")), None)
    controller = NONE
    if owner is not None:
        group = owner.get("apiVersion", "").rpartition("/")[0]
        controller = f"{owner.get('kind', '').lower()}{'.' if group else ''}{group}/{owner.get('name', '')}"
    return [obj["metadata"]["name"], controller, obj.get("revision", 0), age_of(obj, now)]


def pod_template(obj: Object, now: datetime) -> list[Any]:
    metadata = (obj.get("template") or {}).get("metadata") or {}
    return [obj["metadata"]["name"], *_containers(obj), labels(metadata.get("labels"))]


def scale(obj: Object, now: datetime) -> list[Any]:
    desired, available = obj.get("spec", {}).get("replicas", 0), obj.get("status", {}).get("replicas", 0)
    return [obj["metadata"]["name"], desired, available, age_of(obj, now)]


def _replicas(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        obj["metadata"]["name"], spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0),
        age_of(obj, now), *_containers(spec),
    ]  # fmt: skip


def _containers(spec: Object) -> tuple[str, str]:
    """The names and the images of the template's containers."""
    containers = (((spec.get("template") or {}).get("spec")) or {}).get("containers") or ()
    return (
        ",".join(container.get("name", "") for container in containers),
        ",".join(container.get("image", "") for container in containers),
    )


def _job_state(obj: Object) -> str:
    true = {each["type"] for each in obj.get("status", {}).get("conditions") or () if each.get("status") == "True"}
    for state in _JOB_ENDS:
        if state in true:
            return state
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((state for state in _JOB_STATES if state in true), "Running")


def _completions(spec: Object, status: Object) -> str:
    """How many pods succeeded, of how many; a job without a number of completions ends with any."""
    succeeded, wanted = status.get("succeeded", 0), spec.get("completions")
    if wanted is not None:
        return f"{succeeded}/{wanted}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(status: Object, now: datetime) -> str:
    started, completed = status.get("startTime"), status.get("completionTime")
    if not started:
        return ""
    end = parse_time(completed) if completed else now
    return duration((end - parse_time(started)).total_seconds())
