"""Annotations of pods that mean something: mirrors of static pods, deletion cost, profiles of long ago."""

import re
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import paths
from hypernetes.apiserver.registry.podrules.containers import PARTS
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

MIRROR = "kubernetes.io/config.mirror"
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"  # and the container's name
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_SECCOMP_PROFILES = ("runtime/default", "docker/default", "unconfined")
_LOCAL = "localhost/"
_COST = re.compile(r"([+-]?[1-9]\d{0,9}|0)\Z", re.ASCII)


def validate(annotations: Object | None, spec: Object, path: str) -> Causes:
    """`path` is that of the annotations."""
    causes: Causes = []
    for key, value in (annotations or {}).items():
        if key == MIRROR and not spec.get("nodeName"):
            why = "must set spec.nodeName if mirror pod annotation is set"
            causes += validation.invalid(f"{path}[{key}]", value, why)
        elif key == _DELETION_COST and not (_COST.match(value) and -(2**31) <= int(value) < 2**31):
            causes += validation.invalid(f"{path}[{key}]", value, "must be a 32bit integer")
        elif key == _SECCOMP_POD or key.startswith(_SECCOMP_CONTAINER):
            causes += _seccomp(value, f"{path}.{key}")
        elif key.startswith(APPARMOR):
            causes += _apparmor(key, value, spec, f"{path}[{key}]")
    return causes


def _seccomp(profile: str, path: str) -> Causes:
    if profile in _SECCOMP_PROFILES:
        return []
    if profile.startswith(_LOCAL):
        return paths.descending(profile.removeprefix(_LOCAL), path)
    return validation.invalid(path, profile, "must be a valid seccomp profile")


def _apparmor(key: str, profile: str, spec: Object, path: str) -> Causes:
    name = key.removeprefix(APPARMOR)
    causes: Causes = []
    if not any(container.get("name") == name for part in PARTS for container in spec.get(part) or ()):
        causes += validation.invalid(path, name, "container not found")
    if profile not in ("", "runtime/default", "unconfined") and not profile.startswith(_LOCAL):
        causes += validation.invalid(path, profile, "invalid AppArmor profile name")
    return causes


def fixed(new: Object | None, old: Object | None, path: str) -> Causes:
    """What an update may not do to annotations."""
    before, after = old or {}, new or {}
    return [
        cause
        for key in {**before, **after}
        if (key == MIRROR or key.startswith(APPARMOR)) and before.get(key) != after.get(key)
        for cause in validation.forbidden(f"{path}[{key}]", "may not add, remove or update this annotation")
    ]
