"""DefaultIngressClass: an Ingress that names no class is given the tenant's default one."""

from hypernetes.api import scheme
from hypernetes.apiserver.admission.defaultclasses import default_class
from hypernetes.apiserver.admission.request import CREATE, Plugin, Request

_CLASSES = scheme.by_name("networking.k8s.io/v1", "ingressclasses")
_FORMER_CLASS = "kubernetes.io/ingress.class"  # the annotation that was the field once
_MARKS = ("ingressclass.kubernetes.io/is-default-class",)


def admit(request: Request) -> None:
    spec = request.obj.setdefault("spec", {})
    if spec.get("ingressClassName") is not None:
        return
    if _FORMER_CLASS in (request.obj["metadata"].get("annotations") or {}):
        return
    name = default_class(request.seen, _CLASSES, _MARKS)
    if name is not None:
        spec["ingressClassName"] = name


PLUGIN = Plugin("DefaultIngressClass", (("networking.k8s.io", "ingresses"),), (CREATE,), mutate=admit)
