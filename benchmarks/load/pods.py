"""A pod that takes about 3 KB when it is stored, with what an application's template usually brings along."""

from typing import Any

NAMESPACE = "default"
PATH = f"/api/v1/namespaces/{NAMESPACE}/pods"
SLOTS = 100  # values of the label `slot`: a selector of one of them matches 1 %
PLACEHOLDER = "NUMBER"  # in the text of a template, the pod's number
SLOT_PLACEHOLDER = "SLOT"


def pod(name: str, slot: str) -> dict[str, Any]:
    """The pod; `name` is spelled out in all labels that an application's template repeats."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1}
    container = {
        "name": "web",
        "image": "registry.example.com/team/web:v1.2.3",
        "command": ["/usr/bin/web", "--listen=0.0.0.0:8080"],
        "args": ["--config=/etc/web/config.yaml", "--log-level=info"],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "DATABASE_URL", "value": "postgres://database.web.svc.cluster.local:5432/web"},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}},
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}},
        "livenessProbe": probe,
        "readinessProbe": probe,
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/web", "readOnly": True},
            {"name": "cache", "mountPath": "/var/cache/web"},
        ],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "allowPrivilegeEscalation": False},
    }
    labels = {"app": "web", "app.kubernetes.io/name": "web", "app.kubernetes.io/instance": name, "slot": slot}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"example.com/checksum": "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"},
        },
        "spec": {
            "containers": [container],
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "volumes": [
                {"name": "config", "configMap": {"name": "web"}},
                {"name": "cache", "emptyDir": {"sizeLimit": "64Mi"}},
            ],
        },
    }
