"""Defaults of what makes pods from a template: replicas, histories, and how an update or a run proceeds."""

from typing import Any

from hypernetes.apiserver.schema import pod_defaults

Object = dict[str, Any]

_REVISIONS_KEPT = 10
_PROGRESS_SECONDS = 600
_JOB_RETRIES = 6
_NO_LIMIT = 2**31 - 1  # of retries in all, where each index has a limit of its own
_SUCCESSFUL_JOBS_KEPT, _FAILED_JOBS_KEPT = 3, 1


def pod_template(obj: Object) -> None:
    pod_defaults.template(obj["template"])


def replication_controller(obj: Object) -> None:
    spec = obj["spec"]
    template = spec.get("template")
    if template is not None:
        labels = (template.get("metadata") or {}).get("labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not obj["metadata"].get("labels"):
                obj["metadata"]["labels"] = dict(labels)
        pod_defaults.template(template)
    spec.setdefault("replicas", 1)


def replica_set(obj: Object) -> None:
    obj["spec"].setdefault("replicas", 1)
    pod_defaults.template(obj["spec"]["template"])


def deployment(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", _REVISIONS_KEPT)
    spec.setdefault("progressDeadlineSeconds", _PROGRESS_SECONDS)
    rolling = _rolling(spec["strategy"])
    if rolling is not None:
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    pod_defaults.template(spec["template"])


def stateful_set(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", _REVISIONS_KEPT)
    spec.setdefault("serviceName", "")
    spec.setdefault("podManagementPolicy", "OrderedReady")
    rolling = _rolling(spec["updateStrategy"])
    if rolling is not None:
        rolling.setdefault("partition", 0)
        if rolling.get("maxUnavailable") == 0:  # upstream's closed feature gate drops any; ours what could move nothing
            del rolling["maxUnavailable"]
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    for moment in ("whenDeleted", "whenScaled"):
        if not retention.get(moment):
            retention[moment] = "Retain"
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        claim["spec"].setdefault("volumeMode", "Filesystem")
        claim["status"].setdefault("phase", "Pending")
    pod_defaults.template(spec["template"])


def daemon_set(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("revisionHistoryLimit", _REVISIONS_KEPT)
    rolling = _rolling(spec["updateStrategy"])
    if rolling is not None:
        rolling.setdefault("maxUnavailable", 1)
    for name in ("maxUnavailable", "maxSurge"):
        spec["updateStrategy"].get("rollingUpdate", {}).setdefault(name, 0)
    pod_defaults.template(spec["template"])


def job(obj: Object) -> None:
    spec = obj["spec"]
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", _NO_LIMIT if "backoffLimitPerIndex" in spec else _JOB_RETRIES)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    failures = spec.get("podFailurePolicy")
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed" if failures is None else "Failed")
    for rule in (failures or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            pattern.setdefault("status", "True")
    labels = (spec["template"].get("metadata") or {}).get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)
    pod_defaults.template(spec["template"])


def cron_job(obj: Object) -> None:
    """Of the job only the pod's template is completed; the rest is when a job is made from it."""
    spec = obj["spec"]
    if not spec.get("concurrencyPolicy"):
        spec["concurrencyPolicy"] = "Allow"
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", _SUCCESSFUL_JOBS_KEPT)
    spec.setdefault("failedJobsHistoryLimit", _FAILED_JOBS_KEPT)
    pod_defaults.template(spec["jobTemplate"]["spec"]["template"])


def _rolling(strategy: Object) -> Object | None:
    """The part of an update strategy about rolling updates, which is the default; None for another strategy."""
    if strategy.setdefault("type", "RollingUpdate") != "RollingUpdate":
        return None
    rolling: Object = strategy.setdefault("rollingUpdate", {})
    return rolling
