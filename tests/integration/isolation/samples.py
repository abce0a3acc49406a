"""A valid object of each kind: upstream's own minimal ones, and ours."""

import copy
import re
import zlib
from functools import cache
from typing import Any

import orjson

from tests.integration.api import recorded
from tests.integration.isolation.offered import Offered

Object = dict[str, Any]

PUBLIC = "public"  # key and value of a label that everybody knows
_NAMESPACE = re.compile(rb"a-def-\d{4}")
_NETWORK = {"spec": {"subnets": {"main": {"cidr": "10.9.0.0/24", "gateway": "10.9.0.1"}}}}
_PORT = {"spec": {"address": "10.9.0.9", "macAddress": "02:00:00:00:00:09", "podRef": {"name": "p"}}}
_API_SERVICE = {
    "spec": {
        "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
        "service": {"namespace": "default", "name": "server"},
    }
}  # fmt: skip
_OURS: dict[str, Object] = {
    "APIService": _API_SERVICE,
    "Network": _NETWORK,
    "Port": _PORT,
    "Tenant": {"spec": {}},
    "Namespace": {},
    "Node": {},
    "NodeVolume": {"spec": {"nodeName": "n3", "size": "1Gi"}},
    "User": {"spec": {}},
    "VolumeSnapshot": {"spec": {"source": {"persistentVolumeClaimName": "c"}}},
    "VolumeSnapshotClass": {"driver": "d.example.com", "deletionPolicy": "Delete"},
    "VolumeSnapshotContent": {
        "spec": {
            "driver": "d.example.com", "deletionPolicy": "Delete", "source": {"snapshotHandle": "h"},
            "volumeSnapshotRef": {"namespace": "default", "name": "s"},
        }
    },
}  # fmt: skip


@cache
def _recorded() -> dict[tuple[str, str], bytes]:
    found = {}
    for line in (recorded.RECORDINGS / "defaulting.jsonl").read_bytes().splitlines():
        sequence = orjson.loads(line)
        if sequence["case"].endswith("-minimal"):
            for step in sequence["steps"]:
                body = step.get("body")
                if step["method"] == "POST" and body["kind"] != "Namespace":
                    found[body["apiVersion"], body["kind"]] = orjson.dumps(body)
    return found


def sample(resource: Offered, namespace: str, name: str, canary: str = "") -> Object:
    """An object of a name that `named` gave, with the canary, if one is given, in labels, annotations and data."""
    raw = _recorded().get((resource.group_version, resource.kind))
    if raw is not None and resource.kind not in _OURS:
        body = orjson.loads(_NAMESPACE.sub(namespace.encode(), raw))
    elif resource.kind in _OURS:
        body = copy.deepcopy(_OURS[resource.kind])
    else:
        raise AssertionError(f"{resource.id} is served and has no sample here")
    body |= {"apiVersion": resource.group_version, "kind": resource.kind}
    body["metadata"] = {"name": name, "labels": {PUBLIC: PUBLIC}, "annotations": {PUBLIC: PUBLIC}}
    if resource.namespaced:
        body["metadata"]["namespace"] = namespace
    if resource.kind == "APIService":
        body["spec"]["group"] = name.partition(".")[2]
    if resource.kind == "Port":
        body["spec"]["network"] = name.partition(".")[0]
    if canary:
        body["metadata"]["labels"][canary] = canary
        body["metadata"]["annotations"][canary] = canary
        _fill(body, canary)
    return body


def named(resource: Offered, word: str) -> str:
    """A name that has the word in it, where the kind leaves a choice."""
    if resource.kind == "IPAddress":
        return f"2001:db8::{zlib.crc32(word.encode()) % 0xEFFF + 0x1000:x}"
    if resource.kind == "APIService":
        return f"v1.{word}"
    return f"{word}.10.9.0.9" if resource.kind == "Port" else word


def _fill(body: Object, canary: str) -> None:
    """Where the kind holds anything that its owner wrote."""
    match body["kind"]:
        case "User":
            body["spec"] = {"displayName": canary, "groups": [canary]}
        case "APIService":
            body["spec"]["service"]["name"] = canary
        case "ConfigMap":
            body["data"] = {canary: canary}
        case "Secret":
            body["stringData"] = {canary: canary}
        case "Event":
            body["note" if "/" in body["apiVersion"] else "message"] = canary
        case "Pod":
            body["spec"]["containers"][0] |= {"image": canary, "env": [{"name": "E", "value": canary}]}
        case "Service":
            body["spec"]["selector"] = {canary: canary}
        case "Lease":
            body["spec"] = {"holderIdentity": canary}
        case "ClusterRole" | "Role":
            body["rules"] = [{"apiGroups": [canary], "resources": [canary], "verbs": ["get"]}]
        case "ControllerRevision":
            body["data"] = {canary: canary}


REVIEWS: dict[str, Object] = {
    "tokenreviews": {"spec": {"token": "x"}},
    "selfsubjectreviews": {},
    "selfsubjectaccessreviews": {"spec": {"resourceAttributes": {"verb": "list", "resource": "secrets"}}},
    "subjectaccessreviews": {
        "spec": {"user": "globex-admin", "resourceAttributes": {"verb": "list", "resource": "secrets"}}
    },
    "localsubjectaccessreviews": {
        "spec": {
            "user": "globex-admin",
            "resourceAttributes": {"verb": "list", "resource": "secrets", "namespace": "default"},
        }
    },
    "selfsubjectrulesreviews": {"spec": {"namespace": "default"}},
}
