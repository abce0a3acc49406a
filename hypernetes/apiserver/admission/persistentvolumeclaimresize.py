"""PersistentVolumeClaimResize: a claim grows only where its class lets it, and only once it is bound."""

from typing import Any

from hypernetes.api import quantity, scheme
from hypernetes.apiserver.admission.request import UPDATE, Plugin, Request

Object = dict[str, Any]

_CLASSES = scheme.by_name("storage.k8s.io/v1", "storageclasses")
_FORMER_CLASS = "volume.beta.kubernetes.io/storage-class"


def validate(request: Request) -> None:
    new, old = request.obj, request.old
    if _size(new) <= _size(old):
        return  # smaller is what the kind's own rules are about
    if (old.get("status") or {}).get("phase") != "Bound":
        raise request.forbidden("Only bound persistent volume claims can be expanded")
    annotations = new["metadata"].get("annotations") or {}
    name = annotations.get(_FORMER_CLASS) or new["spec"].get("storageClassName")
    found = request.seen.one(_CLASSES, "", name) or request.seen.provider.one(_CLASSES, "", name) if name else None
    if found is None or not found.get("allowVolumeExpansion"):
        raise request.forbidden(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
            "support resize"
        )


def _size(claim: Object) -> Any:
    requests = (claim.get("spec", {}).get("resources") or {}).get("requests") or {}
    return quantity.parse(requests.get("storage", "0"))


PLUGIN = Plugin("PersistentVolumeClaimResize", (("", "persistentvolumeclaims"),), (UPDATE,), validate=validate)
