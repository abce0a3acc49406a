"""CronJobs: what may be said of one."""

from typing import Any

from hypernetes.api import schedules
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import jobs, names, templates
from hypernetes.apiserver.registry.podrules import warnings
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_POLICIES = ("Allow", "Forbid", "Replace")
_NAME_MAX = 52  # characters; the 11 that a job's name adds make 63
_COUNTS = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")


def validate_create(cron_job: Object) -> Causes:
    name = cron_job["metadata"].get("name") or ""
    causes: Causes = []
    if len(name) > _NAME_MAX:
        causes += validation.invalid("metadata.name", name, f"must be no more than {_NAME_MAX} characters")
    return causes + _zone_in_schedule(cron_job["spec"])


def validate(cron_job: Object) -> Causes:
    spec = cron_job["spec"]
    schedule = spec.get("schedule") or ""
    causes: Causes = []
    if not schedule:
        causes += validation.required("spec.schedule")
    elif "TZ" not in schedule:
        causes += _schedule(schedule)
    causes += templates.non_negative(spec, _COUNTS, "spec")
    causes += validation.one_of(spec.get("concurrencyPolicy"), _POLICIES, "spec.concurrencyPolicy")
    causes += _time_zone(spec)
    return causes + jobs.validate_spec(spec["jobTemplate"].get("spec") or {}, "spec.jobTemplate.spec")


def validate_update(new: Object, old: Object) -> Causes:
    if new["spec"].get("schedule") != old["spec"].get("schedule"):
        return _zone_in_schedule(new["spec"])
    return []


def _schedule(schedule: str) -> Causes:
    problem = schedules.problem(schedule)
    return validation.invalid("spec.schedule", schedule, problem) if problem else []


def _zone_in_schedule(spec: Object) -> Causes:
    schedule = spec.get("schedule") or ""
    if "TZ" in schedule:
        why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        return validation.invalid("spec.schedule", schedule, why)
    return []


def _time_zone(spec: Object) -> Causes:
    zone = spec.get("timeZone")
    if zone is None:
        return []
    if not zone:
        return validation.invalid("spec.timeZone", zone, "must be unset or a non-empty string")
    if zone.lower() == "local":
        return validation.invalid("spec.timeZone", zone, "must be an explicit time zone as defined by IANA")
    if not schedules.is_zone(zone):
        return validation.invalid("spec.timeZone", zone, "unknown time zone")
    return []


def warn(new: Object, old: Object | None) -> list[str]:
    template, before = (_template(cron_job) for cron_job in (new, old))
    return names.not_a_label(new, old) + warnings.of_template(template, before, "spec.jobTemplate.spec.template")


def _template(cron_job: Object | None) -> Object | None:
    return None if cron_job is None else (cron_job["spec"]["jobTemplate"].get("spec") or {}).get("template")


STRATEGY = Strategy(
    complete=True,
    has_status=True,
    generation=True,
    validate_create=validate_create,
    validate=validate,
    validate_update=validate_update,
    warnings=warn,
)
