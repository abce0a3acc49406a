"""The checks of level restricted, beyond baseline: what hardens a pod."""

from collections.abc import Callable
from typing import Any

from hypernetes.apiserver.podsecurity.baseline import seccomp_types, unconfined
from hypernetes.apiserver.podsecurity.violation import (
    Violation,
    containers,
    named,
    offending,
    plural,
    quoted,
    security,
    setters,
)

Object = dict[str, Any]
Check = Callable[[Object, Object], Violation | None]

_VOLUMES = frozenset({
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
})  # fmt: skip


def on_linux(check: Check) -> Check:
    """A check that means nothing for pods that say they are for Windows."""
    return lambda metadata, spec: None if (spec.get("os") or {}).get("name") == "windows" else check(metadata, spec)


def privilege_escalation(_: Object, spec: Object) -> Violation | None:
    names = offending(spec, lambda container: security(container).get("allowPrivilegeEscalation") is not False)
    detail = f"{named('container', names)} must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", detail) if names else None


def capabilities(_: Object, spec: Object) -> Violation | None:
    def given(container: Object, what: str) -> set[str]:
        return set((security(container).get("capabilities") or {}).get(what) or ())

    keeping = offending(spec, lambda container: "ALL" not in given(container, "drop"))
    adding = offending(spec, lambda container: bool(given(container, "add") - {"NET_BIND_SERVICE"}))
    details = []
    if keeping:
        details.append(f'{named("container", keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        added = set().union(*(given(container, "add") for container in containers(spec))) - {"NET_BIND_SERVICE"}
        what = f"must not include {quoted(sorted(added))} in securityContext.capabilities.add"
        details.append(f"{named('container', adding)} {what}")
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


def volumes(_: Object, spec: Object) -> Violation | None:
    def kind(volume: Object) -> str:
        return next((name for name, value in volume.items() if name != "name" and value is not None), "unknown")

    bad = [volume for volume in spec.get("volumes") or () if kind(volume) not in _VOLUMES]
    if not bad:
        return None
    kinds = sorted({kind(volume) for volume in bad})
    verb = "uses" if len(bad) == 1 else "use"
    who = named("volume", [volume["name"] for volume in bad])
    what = plural("restricted volume type", kinds)
    return Violation("restricted volume types", f"{who} {verb} {what} {quoted(kinds)}")


def run_as_non_root(_: Object, spec: Object) -> Violation | None:
    of_pod = security(spec).get("runAsNonRoot")
    explicit = offending(spec, lambda container: security(container).get("runAsNonRoot") is False)
    reason = "runAsNonRoot != true"
    if explicit or of_pod is False:
        who = setters(of_pod is False, explicit)
        return Violation(reason, f"{who} must not set securityContext.runAsNonRoot=false")
    silent = offending(spec, lambda container: security(container).get("runAsNonRoot") is None)
    if of_pod or not silent:
        return None
    return Violation(reason, f"pod or {named('container', silent)} must set securityContext.runAsNonRoot=true")


def run_as_user(_: Object, spec: Object) -> Violation | None:
    def root(holder: Object) -> bool:
        return security(holder).get("runAsUser") == 0

    names = offending(spec, root)
    if not names and not root(spec):
        return None
    return Violation("runAsUser=0", f"{setters(root(spec), names)} must not set runAsUser=0")


def seccomp_profile(_: Object, spec: Object) -> Violation | None:
    bad = offending(spec, unconfined)
    path = "securityContext.seccompProfile.type"
    if bad or unconfined(spec):
        who = setters(unconfined(spec), bad)
        return Violation("seccompProfile", f"{who} must not set {path} to {quoted(seccomp_types(spec))}")
    if security(spec).get("seccompProfile") is not None:
        return None
    silent = offending(spec, lambda container: security(container).get("seccompProfile") is None)
    detail = f'pod or {named("container", silent)} must set {path} to "RuntimeDefault" or "Localhost"'
    return Violation("seccompProfile", detail) if silent else None
