"""PodDefaults: a container that says nothing of its cpu or memory asks for what `spec.podDefaults` of its tenant says.

Scheduler, quotas and the size of the pod's machine go by requests, so all of them see it. What a LimitRange of the
namespace gives comes first.
"""

from typing import Any

import orjson

from hypernetes.apiserver import podresources
from hypernetes.apiserver.admission.request import CREATE, Plugin, Request

Object = dict[str, Any]


def complete(request: Request) -> None:
    tenant = request.seen.tenant_entry()
    if tenant is None or b'"podDefaults"' not in tenant.data:
        return
    for container in podresources.containers(request.obj["spec"]):
        set_defaults(container, orjson.loads(tenant.data)["spec"].get("podDefaults") or {})  # type: ignore[arg-type]


def set_defaults(container: Object, defaults: dict[str, str]) -> None:
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    missing = {name: amount for name, amount in defaults.items() if name not in limits and name not in requests}
    if missing:
        container["resources"] = {**resources, "requests": {**requests, **missing}}


PLUGIN = Plugin("PodDefaults", (("", "pods"),), (CREATE,), mutate=complete)
