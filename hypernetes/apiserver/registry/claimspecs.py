"""The spec of a persistent volume claim, of one by itself or of the template of one."""

from typing import Any

from hypernetes.api import quantity
from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_ALONE = "ReadWriteOncePod"
_VOLUME_MODES = ("Block", "Filesystem")


def validate(spec: Object, path: str) -> Causes:
    modes = spec.get("accessModes") or ()
    causes: Causes = [] if modes else validation.required(f"{path}.accessModes", "at least 1 access mode is required")
    for mode in modes:
        if mode not in _MODES:
            causes += validation.not_supported(f"{path}.accessModes", mode, _MODES)
    if _ALONE in modes and len(modes) > 1:
        causes += validation.forbidden(f"{path}.accessModes", f"may not use {_ALONE} with other access modes")
    if spec.get("selector"):
        causes += validation.label_selector(spec["selector"], f"{path}.selector")
    causes += _storage(spec, path)
    for name in ("storageClassName", "volumeAttributesClassName"):
        if spec.get(name):
            causes += validation.dns_subdomain(spec[name], f"{path}.{name}")
    mode = spec.get("volumeMode")
    if mode is not None and mode not in _VOLUME_MODES:
        causes += validation.not_supported(f"{path}.volumeMode", mode, _VOLUME_MODES)
    return causes


def _storage(spec: Object, path: str) -> Causes:
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    at = f"{path}.resources[storage]"
    if amount is None:
        return validation.required(at)
    if quantity.parse(amount) <= 0:
        return validation.invalid(at, amount, "must be greater than zero")
    return []
