"""What an update of a pod may change: images, a shorter deadline, more tolerations, fewer gates.

A pod that waits at its gates may also be kept to fewer nodes (KEP-3838).
"""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.podrules import affinity, containers, tolerations
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_MAX_SECONDS = 2**31 - 1
_WHY = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate(new: Object, old: Object) -> Causes:
    """`new` and `old` are specs."""
    if new == old:
        return []
    causes: Causes = []
    for part in ("containers", "initContainers"):
        wrong, comparable = _images(new.get(part) or (), old.get(part) or (), f"spec.{part}")
        causes += wrong
        if not comparable:
            return causes
    after, before = new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")
    if after is not None and (not 0 <= after <= _MAX_SECONDS or (before is not None and before < after)):
        why = "must not be negative, and less than or equal to previous value"
        return causes + validation.invalid("spec.activeDeadlineSeconds", after, why)
    if after is None and before is not None:
        why = "must not update from a positive integer to nil value"
        causes += validation.invalid("spec.activeDeadlineSeconds", after, why)
    causes += tolerations.only_added(new.get("tolerations") or (), old.get("tolerations") or (), "spec.tolerations")
    causes += _gates_only_go(new, old)
    rest = _with_changeable(new, old)
    if old.get("schedulingGates"):
        causes += _narrowed(rest, old)
    if rest != old:
        causes += validation.forbidden("spec", _WHY)
    return causes


def _images(new: Any, old: Any, path: str) -> tuple[Causes, bool]:
    """What is wrong with containers, and whether they can be compared one by one."""
    if len(new) != len(old):
        return validation.forbidden(path, "pod updates may not add or remove containers"), False
    causes: Causes = []
    for index, container in enumerate(new):
        at, image = f"{path}[{index}]", container.get("image") or ""
        causes += containers.padded_image(image, at) if image else validation.required(f"{at}.image")
    return causes, True


def _gates_only_go(new: Object, old: Object) -> Causes:
    before = {gate.get("name") for gate in old.get("schedulingGates") or ()}
    return [
        cause
        for index, gate in enumerate(new.get("schedulingGates") or ())
        if gate.get("name") not in before
        for cause in validation.forbidden(f"spec.schedulingGates[{index}].name", "only deletion is allowed")
    ]


def _with_changeable(new: Object, old: Object) -> Object:
    """The new spec with the old one's values where any change has been looked at."""
    rest = dict(new)
    for part in ("containers", "initContainers"):
        if part in rest:
            rest[part] = [
                {**container, "image": previous.get("image")}
                for container, previous in zip(rest[part], old.get(part) or (), strict=True)
            ]
    for name in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        _restore(rest, old, name)
    if (old.get("terminationGracePeriodSeconds") or 0) < 0 and rest.get("terminationGracePeriodSeconds") == 1:
        _restore(rest, old, "terminationGracePeriodSeconds")
    return rest


def _restore(target: Object, source: Object, name: str) -> None:
    target.pop(name, None)
    if name in source:
        target[name] = source[name]


def _narrowed(rest: Object, old: Object) -> Causes:
    """Checks a gated pod's choice of nodes, and takes it out of what is compared."""
    causes: Causes = []
    before, after = old.get("nodeSelector") or {}, rest.get("nodeSelector") or {}
    if any(after.get(key) != value for key, value in before.items()):
        why = "only additions are allowed, no mutations or deletions"
        causes += validation.invalid("spec.nodeSelector", after, why)
    _restore(rest, old, "nodeSelector")
    nodes, were = ((spec.get("affinity") or {}).get("nodeAffinity") for spec in (rest, old))
    if nodes != were:
        causes += _narrowed_affinity(nodes, were, "spec.affinity.nodeAffinity")
        others = {key: value for key, value in (rest.get("affinity") or {}).items() if key != "nodeAffinity"}
        if were is not None:
            others["nodeAffinity"] = were
        rest.pop("affinity", None)
        if others or "affinity" in old:
            rest["affinity"] = others
    return causes


def _narrowed_affinity(new: Object | None, old: Object | None, path: str) -> Causes:
    """Terms are alternatives, so none may be added or removed where there are some; each may ask for more."""
    required = ((old or {}).get(affinity.REQUIRED) or {}).get("nodeSelectorTerms")
    if not required:
        return []
    wanted = ((new or {}).get(affinity.REQUIRED) or {}).get("nodeSelectorTerms") or ()
    at = f"{path}.{affinity.REQUIRED}.nodeSelectorTerms"
    if len(wanted) != len(required):
        return validation.invalid(at, "", "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
    causes: Causes = []
    for index, (term, previous) in enumerate(zip(wanted, required, strict=True)):
        for name in ("matchExpressions", "matchFields"):
            kept = previous.get(name) or []
            if (term.get(name) or [])[: len(kept)] != kept or (not previous and term):
                why = "only additions are allowed (no mutations or deletions)"
                causes += validation.invalid(f"{at}[{index}]", "", why)
                break
    return causes


def only_more_ephemeral(new: Object, old: Object) -> Causes:
    """Of the ephemeralContainers subresource: what was once started stays as it is."""
    path = "spec.ephemeralContainers"
    by_name = {container.get("name"): container for container in new.get("ephemeralContainers") or ()}
    causes: Causes = []
    for container in old.get("ephemeralContainers") or ():
        name = container.get("name")
        if name not in by_name:
            causes += validation.forbidden(path, f"existing ephemeral containers {name!r} may not be removed")
        elif by_name[name] != container:
            causes += validation.forbidden(path, f"existing ephemeral containers {name!r} may not be changed")
    return causes
