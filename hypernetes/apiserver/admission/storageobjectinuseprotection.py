"""StorageObjectInUseProtection: a claim and a volume stay, deleted or not, until nobody uses them any more."""

from hypernetes.apiserver.admission.request import CREATE, Plugin, Request

_FINALIZERS = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
}


def admit(request: Request) -> None:
    finalizers = request.obj["metadata"].get("finalizers") or []
    wanted = _FINALIZERS[request.resource.name]
    if wanted not in finalizers:
        request.obj["metadata"]["finalizers"] = [*finalizers, wanted]


PLUGIN = Plugin("StorageObjectInUseProtection", tuple(("", name) for name in _FINALIZERS), (CREATE,), mutate=admit)
