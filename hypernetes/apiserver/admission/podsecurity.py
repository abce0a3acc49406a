"""PodSecurity: a namespace's labels say how pods in it must behave; which is refused, and what is warned of.

Pods that break the enforced level are refused. What makes pods (Deployments, Jobs, …) is only warned about, since a
refusal would come when its controller makes them. A namespace whose level rises tells which of its pods break it.
"""

from collections import defaultdict
from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.api.status import invalid
from hypernetes.apiserver import podsecurity
from hypernetes.apiserver.admission.request import CREATE, UPDATE, Plugin, Request
from hypernetes.apiserver.podsecurity import LABEL_PREFIX, LevelVersion, Policy, Violation
from hypernetes.apiserver.podsecurity.levels import label_problems

Object = dict[str, Any]

_NAMESPACES = scheme.by_name("v1", "namespaces")
_PODS = scheme.by_name("v1", "pods")
_MOST_PODS = 3_000  # of a namespace that are looked at as its level changes; upstream's figure
_PREFIX = LABEL_PREFIX.encode()
# Annotations that checks look at: only a change of these makes a pod's update one that matters.
_WATCHED_ANNOTATIONS = ("seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/",
                        "container.apparmor.security.beta.kubernetes.io/")  # fmt: skip
_FREE_TO_CHANGE = frozenset({"tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds"})
# (group, resource) -> the fields that lead to the pod template
_TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
}


def policy(request: Request) -> Policy:
    """That of the namespace written to."""
    entry = request.seen.entry(_NAMESPACES, "", request.namespace)
    if entry is None or _PREFIX not in entry.data:
        return Policy()
    return Policy.of(entry.labels)


def validate_pod(request: Request) -> None:
    wanted = policy(request)
    if wanted.demands_nothing or (request.operation == UPDATE and not _matters(request.obj, request.old)):
        return
    metadata, spec = request.obj["metadata"], request.obj["spec"]
    found = podsecurity.violations(wanted.enforce, metadata, spec)
    if found:
        raise request.forbidden(f'violates PodSecurity "{wanted.enforce}": {_listed(found)}')
    _warn(request, wanted.warn, metadata, spec)


def validate_template(request: Request) -> None:
    wanted = policy(request)
    if wanted.demands_nothing:
        return
    template: Any = request.obj
    for name in _TEMPLATES[request.resource.group, request.resource.name]:
        template = (template or {}).get(name)
    if template and template.get("spec"):
        _warn(request, wanted.warn, template.get("metadata") or {}, template["spec"])


def _warn(request: Request, level: LevelVersion, metadata: Object, spec: Object) -> None:
    found = podsecurity.violations(level, metadata, spec)
    if found:
        request.warn(f'would violate PodSecurity "{level}": {_listed(found)}')


def validate_namespace(request: Request) -> None:
    new, old = (obj.get("metadata", {}).get("labels") or {} for obj in (request.obj, request.old))
    causes = label_problems(new)
    if causes:
        raise invalid("", "Namespace", request.name, causes)
    if request.operation != UPDATE:
        return
    now, before = Policy.of(new).enforce, Policy.of(old).enforce
    if now == before or now.level == "privileged":
        return
    if now.version == before.version and before.stricter_than(now):
        return
    for text in _existing(request, now):
        request.warn(text)


def _existing(request: Request, wanted: LevelVersion) -> list[str]:
    """What to tell of the pods that are there: those of one controller that break the same are one line."""
    name = request.obj["metadata"]["name"]
    entries = request.seen.entries(_PODS, name)
    breaking: dict[str, list[str]] = defaultdict(list)
    told: set[tuple[str, str]] = set()
    for entry in entries[:_MOST_PODS]:
        pod = orjson.loads(entry.data)
        found = podsecurity.violations(wanted, pod["metadata"], pod["spec"])
        if not found:
            continue
        reasons = ", ".join(violation.reason for violation in found)
        owner = next((o["uid"] for o in pod["metadata"].get("ownerReferences") or () if o.get("controller")), "")
        if not owner or (owner, reasons) not in told:
            breaking[reasons].append(pod["metadata"]["name"])
        told.add((owner, reasons))
    texts = []
    if breaking:
        texts.append(f'existing pods in namespace "{name}" violate the new PodSecurity enforce level "{wanted}"')
    for reasons, pods in sorted(breaking.items()):
        others = "" if len(pods) == 1 else f" (and {len(pods) - 1} other pod{'s' if len(pods) > 2 else ''})"
        texts.append(f"{pods[0]}{others}: {reasons}")
    if len(entries) > _MOST_PODS:
        of = f"the first {_MOST_PODS} of {len(entries)} existing pods"
        texts.append(f"new PodSecurity enforce level only checked against {of}")
    return texts


def _matters(new: Object, old: Object) -> bool:
    """Whether an update changes anything that a check looks at: images, labels and the like are no concern of ours."""
    return _essence(new) != _essence(old)


def _essence(pod: Object) -> Object:
    annotations = pod["metadata"].get("annotations") or {}
    spec = {name: value for name, value in pod["spec"].items() if name not in _FREE_TO_CHANGE}
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        if kind in spec:
            spec[kind] = [{name: v for name, v in each.items() if name != "image"} for each in spec[kind]]
    watched = {name: value for name, value in annotations.items() if name.startswith(_WATCHED_ANNOTATIONS)}
    return {"annotations": watched, "spec": spec}


def _listed(found: list[Violation]) -> str:
    return ", ".join(str(violation) for violation in found)


_POD = (("", "pods"),)
PODS = Plugin("PodSecurity", _POD, (CREATE, UPDATE), ("", "ephemeralcontainers", "resize"), validate=validate_pod)
TEMPLATES = Plugin("PodSecurity", tuple(_TEMPLATES), (CREATE, UPDATE), validate=validate_template)
NAMESPACES = Plugin("PodSecurity", (("", "namespaces"),), (CREATE, UPDATE), validate=validate_namespace)
