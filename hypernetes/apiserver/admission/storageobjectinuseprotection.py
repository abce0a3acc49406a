"""StorageObjectInUseProtection: claims, volumes and classes of attributes stay until nobody uses them any more."""

from hypernetes.apiserver.admission.request import CREATE, Plugin, Request

_FINALIZERS = {
    ("", "persistentvolumeclaims"): "kubernetes.io/pvc-protection",
    ("", "persistentvolumes"): "kubernetes.io/pv-protection",
    ("storage.k8s.io", "volumeattributesclasses"): "kubernetes.io/vac-protection",
}


def admit(request: Request) -> None:
    finalizers = request.obj["metadata"].get("finalizers") or []
    wanted = _FINALIZERS[request.resource.group, request.resource.name]
    if wanted not in finalizers:
        request.obj["metadata"]["finalizers"] = [*finalizers, wanted]


PLUGIN = Plugin("StorageObjectInUseProtection", tuple(_FINALIZERS), (CREATE,), mutate=admit)
