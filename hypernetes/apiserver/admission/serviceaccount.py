"""ServiceAccount: a pod has a service account, and unless it declines, that account's token mounted.

The volume only asks for a token: the node's agent gets it from the account's `token` subresource and writes it into
the machine (nodeagent/volumes.py).
"""

from typing import Any

from hypernetes.api import scheme
from hypernetes.api.status import not_found
from hypernetes.apiserver.admission.request import CREATE, Plugin, Request
from hypernetes.apiserver.registry.metadata import random_suffix

Object = dict[str, Any]

DEFAULT_ACCOUNT = "default"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_ACCOUNTS = scheme.by_name("v1", "serviceaccounts")
_VOLUME_PREFIX = "kube-api-access-"
_TOKEN_SECONDS = 3607  # an hour and a bit, so that nobody takes it for one that was asked for; upstream's figure
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
_ENFORCE_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


def admit(request: Request) -> None:
    """Raises StatusError 403 where the account isn't there."""
    pod = request.obj
    if _is_mirror(pod):
        return
    spec = pod["spec"]
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT_ACCOUNT
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = request.seen.one(_ACCOUNTS, request.namespace, name)
    if account is None:
        why = f"error looking up service account {request.namespace}/{name}: "
        raise request.forbidden(why + not_found("serviceaccounts", name).message)
    automount = spec.get("automountServiceAccountToken")
    if automount is None:
        automount = account.get("automountServiceAccountToken", True)
    if automount:
        mount_token(spec)
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = list(account["imagePullSecrets"])


def validate(request: Request) -> None:
    """A mirror pod, which no account stands behind, refers to nothing; an account may bound what its pods mount."""
    spec = request.obj["spec"]
    if _is_mirror(request.obj):
        if spec.get("serviceAccountName"):
            raise request.forbidden("a mirror pod may not reference service accounts")
        if next(_secrets(spec), None) is not None:
            raise request.forbidden("a mirror pod may not reference secrets")
        if any("serviceAccountToken" in source for source in _projections(spec)):
            raise request.forbidden("a mirror pod may not use ServiceAccountToken volume projections")
        return
    account = request.seen.one(_ACCOUNTS, request.namespace, spec["serviceAccountName"])
    if account is None or (account["metadata"].get("annotations") or {}).get(_ENFORCE_MOUNTABLE) != "true":
        return
    mountable = {secret.get("name") for secret in account.get("secrets") or ()}
    for what, secret in _secrets(spec):
        if secret not in mountable:
            why = f'{what} with secret.secretName="{secret}" is not allowed because service account '
            raise request.forbidden(f"{why}{spec['serviceAccountName']} does not reference that secret")


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


def _is_mirror(pod: Object) -> bool:
    return MIRROR_ANNOTATION in (pod["metadata"].get("annotations") or {})


def _projections(spec: Object) -> Any:
    for volume in spec.get("volumes") or ():
        yield from (volume.get("projected") or {}).get("sources") or ()


def _secrets(spec: Object) -> Any:
    """(where, name) of each Secret that a pod's containers are given."""
    for volume in spec.get("volumes") or ():
        if volume.get("secret"):
            yield f'volume "{volume["name"]}"', volume["secret"].get("secretName")
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for entry in container.get("env") or ():
            reference = (entry.get("valueFrom") or {}).get("secretKeyRef")
            if reference:
                yield f"container {container['name']} with envVar {entry['name']}", reference.get("name")
        for source in container.get("envFrom") or ():
            if source.get("secretRef"):
                yield f"container {container['name']} with envFrom", source["secretRef"].get("name")


PLUGIN = Plugin("ServiceAccount", (("", "pods"),), (CREATE,), mutate=admit, validate=validate)
