"""DefaultTolerationSeconds: how long a pod bears a node that isn't ready or can't be reached, unless it says itself."""

from typing import Any

from hypernetes.apiserver.admission.request import CREATE, UPDATE, Plugin, Request

_SECONDS = 300
_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def admit(request: Request) -> None:
    spec = request.obj["spec"]
    present = spec.get("tolerations") or ()
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _SECONDS}
        for key in _TAINTS
        if not any(_tolerates(toleration, key) for toleration in present)
    ]
    if added:
        spec["tolerations"] = [*present, *added]


def _tolerates(toleration: dict[str, Any], key: str) -> bool:
    return toleration.get("key") in (key, None, "") and toleration.get("effect") in ("NoExecute", None, "")


PLUGIN = Plugin("DefaultTolerationSeconds", (("", "pods"),), (CREATE, UPDATE), mutate=admit)
