"""Pod templates, and the selectors that must match them: what all workloads have in common."""

from collections.abc import Iterable
from typing import Any

from hypernetes.api import selectors
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import names
from hypernetes.apiserver.registry.podrules import annotations, specs, warnings
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

MISMATCH = "`selector` does not match template `labels`"


def validate(template: Object, path: str) -> Causes:
    """What is wrong with a template. Causes about its labels and annotations lack `metadata`, as upstream's do."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    causes = validation.labels(metadata.get("labels"), f"{path}.labels")
    causes += validation.annotations(metadata.get("annotations"), f"{path}.annotations")
    causes += annotations.validate(metadata.get("annotations"), spec, f"{path}.annotations")
    causes += specs.validate(spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        why = "ephemeral containers not allowed in pod template"
        causes += validation.forbidden(f"{path}.spec.ephemeralContainers", why)
    return causes


def validate_forever(template: Object, path: str) -> Causes:
    """Also that its pods run until they are deleted: those of everything but jobs."""
    spec = template.get("spec") or {}
    causes = validate(template, path)
    if spec.get("restartPolicy") != "Always":
        causes += validation.not_supported(f"{path}.spec.restartPolicy", spec.get("restartPolicy") or "", ("Always",))
    if spec.get("activeDeadlineSeconds") is not None:
        why = "activeDeadlineSeconds is not supported for pods that are replaced when they end"
        causes += validation.forbidden(f"{path}.spec.activeDeadlineSeconds", why)
    return causes


def labels(template: Object) -> dict[str, str]:
    return (template.get("metadata") or {}).get("labels") or {}


def validate_selector(spec: Object, path: str = "spec") -> Causes:
    """A selector that must be there, be well-formed, not be empty, and match the template's labels."""
    selector = spec.get("selector")
    if selector is None:
        return validation.required(f"{path}.selector") + mismatch(spec, path)
    causes = validation.label_selector(selector, f"{path}.selector")
    if causes:
        return causes + validation.invalid(f"{path}.selector", selector, "invalid label selector")
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        return validation.invalid(f"{path}.selector", selector, "empty selector is invalid")
    return mismatch(spec, path)


def mismatch(spec: Object, path: str = "spec") -> Causes:
    """A cause where a well-formed selector doesn't match the template's labels; none at all matches nothing."""
    selector, found = spec.get("selector"), labels(spec["template"])
    if selector is not None and selectors.from_object(selector)(found):
        return []
    return validation.invalid(f"{path}.template.metadata.labels", found, MISMATCH)


def selector_is_fixed(new: Object, old: Object) -> Causes:
    if new["spec"].get("selector") != old["spec"].get("selector"):
        return validation.invalid("spec.selector", new["spec"].get("selector"), "field is immutable")
    return []


def warn(new: Object, old: Object | None, *, name: bool = True) -> list[str]:
    """Of an object whose template is at `spec.template`; of its name, too, if its pods' are made from it."""
    template = new["spec"].get("template")
    found = names.not_a_label(new, old) if name else []
    return found + warnings.of_template(template, None if old is None else old["spec"].get("template"), "spec.template")


def warn_nameless(new: Object, old: Object | None) -> list[str]:
    return warn(new, old, name=False)


def non_negative(part: Object, names: Iterable[str], path: str) -> Causes:
    """Counts and durations of `part` that are below 0."""
    causes: Causes = []
    for name in names:
        number = part.get(name)
        if number is not None and number < 0:
            causes += validation.non_negative(number, f"{path}.{name}")
    return causes


def not_more(status: Object, pairs: Iterable[tuple[str, str]]) -> Causes:
    """Counts of a status that pass another count of it: (what is counted, what it may not pass)."""
    causes: Causes = []
    for name, most in pairs:
        count = status.get(name) or 0
        if count > (status.get(most) or 0):
            causes += validation.invalid(f"status.{name}", count, f"cannot be greater than status.{most}")
    return causes


def collisions_grow(new: Object, old: Object) -> Causes:
    """A status' collisionCount only ever grows."""
    before, after = (obj.get("status", {}).get("collisionCount") for obj in (old, new))
    if before is None:
        return []
    if after is None:
        return validation.invalid("status.collisionCount", after, "cannot be removed")
    if after < before:
        return validation.invalid("status.collisionCount", after, "cannot be decremented")
    return []
