"""DefaultStorageClass: a claim that names no class is given the tenant's default. A claim of class "" wants none."""

from hypernetes.api import scheme
from hypernetes.apiserver.admission.defaultclasses import default_class
from hypernetes.apiserver.admission.request import CREATE, Plugin, Request

_CLASSES = scheme.by_name("storage.k8s.io/v1", "storageclasses")
_FORMER_CLASS = "volume.beta.kubernetes.io/storage-class"  # the annotation that was the field once
_MARKS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def admit(request: Request) -> None:
    spec = request.obj.get("spec", {})
    if spec.get("storageClassName") is not None:
        return
    if _FORMER_CLASS in (request.obj["metadata"].get("annotations") or {}):
        return
    name = default_class(request.seen, _CLASSES, _MARKS)
    if name is not None:
        spec["storageClassName"] = name


PLUGIN = Plugin("DefaultStorageClass", (("", "persistentvolumeclaims"),), (CREATE,), mutate=admit)
