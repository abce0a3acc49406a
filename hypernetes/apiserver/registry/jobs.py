"""Jobs: the labels by which a job knows its pods, what may be said of one, and what may change."""

import copy
from typing import Any

from hypernetes.api import selectors
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import jobpolicies, jobstatuses, templates
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

UID_LABEL, NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
_OLD_UID_LABEL, _OLD_NAME_LABEL = "controller-uid", "job-name"
_MODES = ("Indexed", "NonIndexed")
_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_MANAGER_MAX = 63  # characters
_MAX_PARALLELISM = 100_000  # of an indexed job
_MANY_COMPLETIONS, _MAX_PARALLELISM_OF_MANY, _MAX_FAILED_OF_MANY = 100_000, 10_000, 10_000
_FIXED = (
    "selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy",
)  # fmt: skip
_PODS_STAY = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or "
    "set propagationPolicy=Orphan to suppress this warning"
)
# What of the template of a job that was never started may still change.
_SCHEDULING = ("nodeSelector", "tolerations", "schedulingGates")


def prepare_create(job: Object) -> None:
    """Gives the job's pods its UID and name as labels, and the job a selector for them, unless it has its own."""
    spec, metadata = job["spec"], job["metadata"]
    if not spec.get("manualSelector"):
        labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
        for uid_label, name_label in ((UID_LABEL, NAME_LABEL), (_OLD_UID_LABEL, _OLD_NAME_LABEL)):
            labels.setdefault(name_label, metadata.get("name") or "")
            labels.setdefault(uid_label, metadata["uid"])
        selector = spec.setdefault("selector", {})
        selector.setdefault("matchLabels", {}).setdefault(UID_LABEL, metadata["uid"])
    _label(job)


def prepare_status(new: Object, old: Object) -> None:
    _label(new)


def _label(job: Object) -> None:
    """A job without labels has those of its template, where they are sound."""
    labels = templates.labels(job["spec"]["template"])
    if labels and not job["metadata"].get("labels") and not validation.labels(labels, ""):
        job["metadata"]["labels"] = dict(labels)


def validate(job: Object) -> Causes:
    spec = job["spec"]
    return _generated_selector(job) + _own_spec(spec) + _pod_names(job)


def _own_spec(spec: Object) -> Causes:
    """The spec of a job that is no template: it has a selector."""
    selector = spec.get("selector")
    causes = validation.required("spec.selector") if selector is None else []
    causes += validation.label_selector(selector, "spec.selector")
    if selector is None or not causes:
        causes += templates.mismatch(spec)
    return causes + validate_spec(spec, "spec")


def _generated_selector(job: Object) -> Causes:
    """A selector that wasn't asked to be the user's own must be the generated one."""
    spec, metadata = job["spec"], job["metadata"]
    selector = spec.get("selector")
    if spec.get("manualSelector") or selector is None:
        return []
    labels = templates.labels(spec["template"])
    causes: Causes = []
    for name, value in ((UID_LABEL, metadata.get("uid") or ""), (NAME_LABEL, metadata.get("name") or "")):
        at = f"spec.template.metadata.labels[{name}]"
        if name not in labels:
            causes += validation.required(at, f"must be '{value}'")
        elif labels[name] != value:
            causes += validation.invalid(at, labels, f"must be '{value}'")
    generated = {UID_LABEL: metadata.get("uid") or "", _OLD_UID_LABEL: metadata.get("uid") or ""}
    if not validation.label_selector(selector, "") and not selectors.from_object(selector)(generated):
        causes += validation.invalid("spec.selector", selector, "`selector` not auto-generated")
    return causes


def _pod_names(job: Object) -> Causes:
    """An indexed job's pods are called after their index, and so are their hosts."""
    spec, name = job["spec"], job["metadata"].get("name") or ""
    completions = spec.get("completions") or 0
    if spec.get("completionMode") != "Indexed" or completions <= 0 or not name:
        return []
    return [
        {**cause, "message": f"will not be able to create pod and hostname: {cause['message']}"}
        for cause in validation.dns_label(f"{name}-{completions - 1}", "metadata.name")
    ]


def validate_spec(spec: Object, path: str) -> Causes:
    """What is wrong with a job's spec, a CronJob's too; all but the selector."""
    causes = templates.non_negative(spec, _COUNTS, path)
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        causes += validation.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    causes += _manager(spec.get("managedBy"), f"{path}.managedBy")
    mode = spec.get("completionMode")
    if mode is not None and mode not in _MODES:
        causes += validation.not_supported(f"{path}.completionMode", mode, _MODES)
    causes += _indexed(spec, path) if mode == "Indexed" else _not_indexed(spec, path)
    causes += jobpolicies.validate(spec, path)
    template = spec.get("template") or {}
    causes += templates.validate(template, f"{path}.template")
    return causes + _restart_policy(spec, f"{path}.template.spec.restartPolicy")


def _restart_policy(spec: Object, path: str) -> Causes:
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy")
    if policy not in ("OnFailure", "Never"):
        return validation.required(path, 'valid values: "OnFailure", "Never"')
    if policy != "Never" and spec.get("podFailurePolicy") is not None:
        return validation.invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')
    return []


def _manager(name: str | None, path: str) -> Causes:
    """Who looks after the job instead of the job controller: `example.com/controller`."""
    if name is None:
        return []
    causes: Causes = validation.too_long(path, _MANAGER_MAX) if len(name) > _MANAGER_MAX else []
    domain, slash, rest = name.partition("/")
    if not slash or not domain or not rest:
        return causes + validation.invalid(path, name, "must be a domain-prefixed path (such as acme.io/foo)")
    return causes + validation.dns_subdomain(domain, path)


def _not_indexed(spec: Object, path: str) -> Causes:
    return [
        cause
        for name in ("backoffLimitPerIndex", "maxFailedIndexes")
        if spec.get(name) is not None
        for cause in validation.invalid(f"{path}.{name}", spec[name], "requires indexed completion mode")
    ]


def _indexed(spec: Object, path: str) -> Causes:
    completions, parallelism, failed = (
        spec.get(name) for name in ("completions", "parallelism", "maxFailedIndexes")
    )  # fmt: skip
    causes: Causes = []
    if completions is None:
        causes += validation.required(f"{path}.completions", "when completion mode is Indexed")
    if parallelism is not None and parallelism > _MAX_PARALLELISM:
        why = f"must be less than or equal to {_MAX_PARALLELISM} when completion mode is Indexed"
        causes += validation.invalid(f"{path}.parallelism", parallelism, why)
    if failed is not None and failed > _MAX_PARALLELISM:
        causes += validation.invalid(f"{path}.maxFailedIndexes", failed, f"must be at most {_MAX_PARALLELISM}")
    if completions is not None and failed is not None and failed > completions:
        causes += validation.invalid(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions")
    if spec.get("backoffLimitPerIndex") is not None and completions is not None and completions > _MANY_COMPLETIONS:
        causes += _many(parallelism, failed, path)
    return causes


def _many(parallelism: int | None, failed: int | None, path: str) -> Causes:
    """A job of very many indexes that counts retries for each must be smaller otherwise."""
    why = f"when completions exceed {_MANY_COMPLETIONS}"
    causes = validation.required(f"{path}.maxFailedIndexes", why) if failed is None else []
    if failed is not None and failed > _MAX_FAILED_OF_MANY:
        causes += validation.invalid(f"{path}.maxFailedIndexes", failed, f"at most {_MAX_FAILED_OF_MANY} {why}")
    if parallelism is not None and parallelism > _MAX_PARALLELISM_OF_MANY:
        causes += validation.invalid(f"{path}.parallelism", parallelism, f"at most {_MAX_PARALLELISM_OF_MANY} {why}")
    return causes


def validate_update(new: Object, old: Object) -> Causes:
    spec, before = new["spec"], old["spec"]
    causes = _own_spec(spec)  # once more, as upstream does
    causes += _completions(spec, before)
    never_started = before.get("suspend") and not (old.get("status") or {}).get("startTime")
    allowed = _schedulable(spec["template"], before["template"]) if never_started else before["template"]
    if spec["template"] != allowed:
        causes += validation.invalid("spec.template", "", "field is immutable")
    for name in _FIXED:
        if spec.get(name) != before.get(name):
            causes += validation.invalid(f"spec.{name}", spec.get(name), "field is immutable")
    return causes


def _completions(spec: Object, before: Object) -> Causes:
    """Only an indexed job may grow or shrink, its parallelism with it."""
    wanted = spec.get("completions")
    if wanted == before.get("completions"):
        return []
    if spec.get("completionMode") != "Indexed":
        return validation.invalid("spec.completions", wanted, "field is immutable")
    if wanted is not None and wanted != spec.get("parallelism"):
        return validation.invalid("spec.completions", wanted, "can only be modified in tandem with parallelism")
    return []


def _schedulable(template: Object, old: Object) -> Object:
    """The old template with those fields of the new one that say where pods may run."""
    allowed = copy.deepcopy(old)
    spec, wanted = allowed.get("spec") or {}, template.get("spec") or {}
    for name in ("labels", "annotations"):
        _take(allowed.setdefault("metadata", {}), template.get("metadata") or {}, name)
    for name in _SCHEDULING:
        _take(spec, wanted, name)
    affinity = {key: value for key, value in (spec.get("affinity") or {}).items() if key != "nodeAffinity"}
    _take(affinity, wanted.get("affinity") or {}, "nodeAffinity")
    spec.pop("affinity", None)
    if affinity or "affinity" in wanted:
        spec["affinity"] = affinity
    return allowed


def _take(target: Object, source: Object, name: str) -> None:
    target.pop(name, None)
    if name in source:
        target[name] = source[name]


STRATEGY = Strategy(
    complete=True,
    has_status=True,
    generation=True,
    default_propagation="Orphan",
    delete_warning=_PODS_STAY,
    prepare_create=prepare_create,
    prepare_status=prepare_status,
    validate=validate,
    validate_update=validate_update,
    validate_status=jobstatuses.validate,
    warnings=templates.warn,
)
