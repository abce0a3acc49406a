"""TaintNodesByCondition: a new node takes no pods until its conditions have been looked at."""

from hypernetes.apiserver.admission.request import CREATE, Plugin, Request

_NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


def admit(request: Request) -> None:
    spec = request.obj.setdefault("spec", {})
    taints = spec.get("taints") or []
    if not any((taint.get("key"), taint.get("effect")) == tuple(_NOT_READY.values()) for taint in taints):
        spec["taints"] = [*taints, dict(_NOT_READY)]


PLUGIN = Plugin("TaintNodesByCondition", (("", "nodes"),), (CREATE,), mutate=admit)
