"""A kopf operator on built-in kinds: a ConfigMap that is labelled `shelf=yes` gets a Deployment of its own.

`kopf run --standalone --namespace default operator_example.py`
"""

from typing import Any

import kopf
from kubernetes import client, config

_LABELS = {"shelf": "yes"}


@kopf.on.startup()
def begin(settings: kopf.OperatorSettings, **_: Any) -> None:
    config.load_kube_config()
    settings.networking.error_backoffs = (0.2, 0.5, 1, 2, 3, 5, 8, 13)  # seconds, while the server is away


@kopf.on.create("v1", "configmaps", labels=_LABELS)
def make(name: str, namespace: str, body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
    labels = {"app": name}
    container = {"name": "shelf", "image": body["data"]["image"]}
    deployment: dict[str, Any] = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }  # fmt: skip
    kopf.adopt(deployment)
    client.AppsV1Api().create_namespaced_deployment(namespace, deployment)
    patch.metadata.annotations["shelf.example.com/state"] = "made"
    kopf.info(body, reason="Made", message="made a shelf")


@kopf.on.field("v1", "configmaps", field="data.image", old=kopf.PRESENT, new=kopf.PRESENT, labels=_LABELS)
def exchange(name: str, namespace: str, new: str, **_: Any) -> None:
    containers = [{"name": "shelf", "image": new}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    client.AppsV1Api().patch_namespaced_deployment(name, namespace, patch)


@kopf.on.delete("v1", "configmaps", labels=_LABELS)
def clear(name: str, namespace: str, body: kopf.Body, **_: Any) -> None:
    """Leaves a note before the finalizer goes."""
    note = {"metadata": {"name": f"{name}-note"}, "data": {"of": body["metadata"]["uid"]}}
    client.CoreV1Api().create_namespaced_config_map(namespace, note)


@kopf.on.event("apps", "v1", "deployments")
def ready(event: kopf.RawEvent, meta: kopf.Meta, status: kopf.Status, namespace: str, **_: Any) -> None:
    """The shelf's owner says whether it is ready."""
    for owner in meta.get("ownerReferences", ()):
        if owner["kind"] == "ConfigMap" and event["type"] != "DELETED" and status.get("readyReplicas"):
            patch = {"metadata": {"annotations": {"shelf.example.com/state": "ready"}}}
            client.CoreV1Api().patch_namespaced_config_map(owner["name"], namespace, patch)
