"""A pod's volumes: their names, and the claims that are made for them."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.podrules import volumesources
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_PORTAL_MAX = 64  # characters of `<volume>:<portal>`, which becomes a name on the node


def validate(volumes: Any, pod_name: str, path: str) -> tuple[Object, Causes]:
    """The sound volumes by name, and what is wrong with the others. `pod_name` is "" for a template."""
    sound: Object = {}
    causes: Causes = []
    claims = {f"{pod_name}-{volume.get('name')}" for volume in volumes if pod_name and "ephemeral" in volume}
    for index, volume in enumerate(volumes):
        at, name = f"{path}[{index}]", volume.get("name") or ""
        wrong = volumesources.validate(volume, at)
        wrong += validation.dns_label(name, f"{at}.name") if name else validation.required(f"{at}.name")
        if name in sound:
            wrong += validation.duplicate(f"{at}.name", name)
        wrong += _made_names(volume, name, pod_name, at)
        if not wrong:
            sound[name] = volume
        causes += wrong
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claims and claim in claims:
            why = "must not reference a PVC that gets created for an ephemeral volume"
            causes += validation.invalid(f"{at}.persistentVolumeClaim.claimName", claim, why)
    return sound, causes


def _made_names(volume: Object, name: str, pod_name: str, path: str) -> Causes:
    """Names that are made from the volume's own."""
    causes: Causes = []
    iscsi = volume.get("iscsi") or {}
    portal = f"{name}:{iscsi.get('targetPortal') or ''}"
    if iscsi.get("initiatorName") is not None and len(portal) > _PORTAL_MAX:
        why = f"<volume name>:<iscsi.targetPortal> must be under {_PORTAL_MAX} characters with an initiatorName"
        causes += validation.invalid(f"{path}.name", name, why)
    if "ephemeral" in volume and pod_name and name:
        for cause in validation.dns_subdomain(f"{pod_name}-{name}", f"{path}.name"):
            causes.append({**cause, "message": f"the claim's name: {cause['message']}"})
    return causes
