"""A pod has a service account, and unless it declines, that account's token mounted."""

from typing import TYPE_CHECKING, Any

import orjson

from hypernetes.api.status import StatusError, not_found
from hypernetes.apiserver.registry.metadata import random_suffix

if TYPE_CHECKING:
    from hypernetes.apiserver.handlers.context import Call

Object = dict[str, Any]

DEFAULT_ACCOUNT = "default"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUME_PREFIX = "kube-api-access-"
_TOKEN_SECONDS = 3607  # an hour and a bit, so that nobody takes it for one that was asked for; upstream's figure
_MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


async def admit(call: "Call", pod: Object) -> None:
    """Raises StatusError 403 where the account isn't there."""
    if _MIRROR_ANNOTATION in (pod["metadata"].get("annotations") or {}):
        return
    spec = pod["spec"]
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT_ACCOUNT
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = await _account(call, name)
    if account is None:
        missing = not_found("serviceaccounts", name)
        pod_name = pod["metadata"].get("name", "")
        message = f'pods "{pod_name}" is forbidden: error looking up service account'
        raise StatusError(
            "Forbidden", f"{message} {call.route.namespace}/{name}: {missing.message}",
            details={"name": pod_name, "kind": "pods"},
        )  # fmt: skip
    automount = spec.get("automountServiceAccountToken")
    if automount is None:
        automount = account.get("automountServiceAccountToken", True)
    if automount:
        mount_token(spec)
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = list(account["imagePullSecrets"])


async def _account(call: "Call", name: str) -> Object | None:
    lookups, where = call.parts.lookups, (call.one_tenant, call.route.namespace)
    entry = lookups.service_account(*where, name)
    if entry is None:
        await call.parts.freshness.now()
        entry = lookups.service_account(*where, name)
    if entry is None:
        return None
    account: Object = orjson.loads(entry.data)
    return account


def mount_token(spec: Object) -> None:
    """Adds the volume with token, CA and namespace, and mounts it where a container mounts nothing else there."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    bare = [
        container
        for container in containers
        if all(mount.get("mountPath") != MOUNT_PATH for mount in container.get("volumeMounts") or ())
    ]
    if not bare:
        return
    volume = next((v["name"] for v in spec.get("volumes") or () if v["name"].startswith(_VOLUME_PREFIX)), None)
    if volume is None:
        volume = f"{_VOLUME_PREFIX}{random_suffix()}"
        spec["volumes"] = [*(spec.get("volumes") or ()), _volume(volume)]
    for container in bare:
        mount = {"name": volume, "readOnly": True, "mountPath": MOUNT_PATH}
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]


def _volume(name: str) -> Object:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}
