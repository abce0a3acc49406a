"""What a node has to do with beside pods, and both tenants have under one name: a check that forgot the tenant would
find the other's."""

from collections.abc import Iterator
from typing import Any

HELD = "held"  # a volume, the claim that is bound to it, what is attached and kept on the node
PORT = "default.10.9.0.77"
NAMESPACE = "/api/v1/namespaces/default"
HYPERNETES = "/apis/hypernetes.io/v1"
ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
_SIZE = {"storage": "1Gi"}
_CLASSLESS = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}


def belongings(node: str, label: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each is made, below the tenant's root, and the object."""
    volume = {**_CLASSLESS, "capacity": _SIZE, "csi": {"driver": "d.example.com", "volumeHandle": HELD}}
    claim = {**_CLASSLESS, "resources": {"requests": _SIZE}, "volumeName": HELD}
    attachment = {"attacher": "d.example.com", "nodeName": node, "source": {"persistentVolumeName": HELD}}
    port = {
        "network": "default", "address": "10.9.0.77", "macAddress": "02:00:00:00:00:77", "nodeName": node,
        "podRef": {"name": "names-it"},
    }  # fmt: skip
    for path, name, spec in (
        ("/api/v1/persistentvolumes", HELD, volume),
        (f"{NAMESPACE}/persistentvolumeclaims", HELD, claim),
        (ATTACHMENTS, HELD, attachment),
        (f"{HYPERNETES}/nodevolumes", HELD, {"nodeName": node, "size": "1Gi"}),
        (f"{HYPERNETES}/ports", PORT, port),
    ):
        yield path, {"metadata": {"name": name, "labels": {label: label}}, "spec": spec}
