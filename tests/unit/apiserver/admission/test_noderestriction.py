"""What an agent may write of what it may write at all: its own node, and what runs there."""

from typing import Any

import pytest

from hypernetes.api import tenancy
from hypernetes.api.status import StatusError
from hypernetes.apiserver.admission import noderestriction
from hypernetes.apiserver.admission.request import CREATE, DELETE, UPDATE
from hypernetes.apiserver.authn import User
from tests.unit.apiserver.admission.requests import NAMESPACE, Object, admitted, asking, made

AGENT = User("system:node:n1", ("system:nodes",), "system", "uid", component=True)
IMPOSTOR = User("system:node:n1", ("system:nodes",), "system", "uid")
OWN = {"kind": "Pod", "namespace": NAMESPACE, "name": "p", "uid": "u"}


def pod(node: str = "n1", **metadata: Any) -> Object:
    return made("Pod", "p", spec={"nodeName": node}, metadata={"uid": "u", **metadata})


def node(name: str = "n1", labels: Object | None = None, **spec: Any) -> Object:
    return made("Node", name, metadata={"labels": labels or {}}, spec=spec)


def port(node: str = "n1", reference: Object | None = None) -> Object:
    spec = {"nodeName": node, "macAddress": tenancy.mac_address("u"), "podRef": reference or OWN}
    return made("Port", "a", "hypernetes.io/v1", spec=spec)


def node_volume(node: str = "n1", size: str = "1Gi", **status: Any) -> Object:
    spec = {"nodeName": node, "size": size}
    return made("NodeVolume", "v", "hypernetes.io/v1", spec=spec, status=status)


def attachment(node: str = "n1", attached: bool = True, **annotations: str) -> Object:
    spec = {"nodeName": node, "attacher": "d", "source": {"persistentVolumeName": "v"}}
    metadata = {"annotations": {"hypernetes.io/" + key.replace("_", "-"): text for key, text in annotations.items()}}
    status = {"attached": attached}
    return made("VolumeAttachment", "a", "storage.k8s.io/v1", spec=spec, status=status, metadata=metadata)


def event(about: Object) -> Object:
    return made("Event", "e", involvedObject=about)


def allowed(operation: str, obj: Object, old: Object | None = None, user: User = AGENT, subresource: str = "") -> bool:
    request = asking(obj, pod(), operation=operation, old=old, user=user, subresource=subresource)
    try:
        admitted(request, noderestriction.PLUGIN)
    except StatusError as error:
        return error.reason != "Forbidden"
    return True


@pytest.mark.parametrize(
    ("operation", "obj", "old", "subresource", "may"),
    [
        (CREATE, pod(), None, "", False),
        (DELETE, pod(), None, "", True),
        (DELETE, pod("n2"), None, "", False),
        (DELETE, pod(""), None, "", False),
        (UPDATE, pod(), pod(), "status", True),
        (UPDATE, pod("n2"), pod("n2"), "status", False),
        (UPDATE, pod(labels={"a": "b"}), pod(), "status", False),
        (CREATE, node(labels={"kubernetes.io/hostname": "n1"}), None, "", True),
        (CREATE, node("n2"), None, "", False),
        (CREATE, node(labels={"node-restriction.kubernetes.io/x": "y"}), None, "", False),
        (UPDATE, node(labels={"mine": "y"}), node(), "", True),
        (UPDATE, node(), node(labels={"x.node-restriction.kubernetes.io/x": "y"}), "", False),
        (UPDATE, node(taints=[]), node(taints=[{"key": "a"}]), "", False),
        (CREATE, port(), None, "", True),
        (CREATE, port("n2"), None, "", False),
        (CREATE, {**port(), "spec": {**port()["spec"], "macAddress": tenancy.mac_address("another")}}, None, "", False),
        (CREATE, {**port(), "metadata": {"name": "p", "labels": {"app": "a-friend"}}}, None, "", False),
        (CREATE, port(reference={**OWN, "uid": "other"}), None, "", False),
        (DELETE, port("n2"), None, "", False),
        (UPDATE, node_volume(phase="Ready"), node_volume(), "status", True),
        (UPDATE, node_volume("n2", phase="Ready"), node_volume("n2"), "status", False),
        (UPDATE, node_volume(size="2Gi"), node_volume(), "", False),
        (CREATE, node_volume(), None, "", False),
        (DELETE, node_volume(), None, "", False),
        (UPDATE, attachment(file_system_bytes="1"), attachment(), "", True),
        (UPDATE, attachment("n2", file_system_bytes="1"), attachment("n2"), "", False),
        (UPDATE, attachment(volume_handle="another"), attachment(), "", False),
        (UPDATE, attachment(attached=False), attachment(), "", False),
        (DELETE, attachment(), attachment(), "", False),
        (CREATE, event(OWN), None, "", True),
        (CREATE, event({**OWN, "name": "other"}), None, "", False),
        (CREATE, event({"kind": "Node", "name": "n1"}), None, "", True),
        (CREATE, event({"kind": "Node", "name": "n2"}), None, "", False),
    ],
)
def test_an_agent_writes_about_its_own(operation, obj, old, subresource, may):
    assert allowed(operation, obj, old, subresource=subresource) is may
    assert allowed(operation, obj, old, IMPOSTOR, subresource) is True  # nobody's agent: authz decides alone


@pytest.mark.parametrize(
    ("label", "may"),
    [
        ("app", True),
        ("example.com/rack", True),
        ("kubernetes.io/hostname", True),
        ("topology.kubernetes.io/zone", True),
        ("node.kubernetes.io/anything", True),
        ("x.kubelet.kubernetes.io/anything", True),
        ("node-role.kubernetes.io/control-plane", False),
        ("kubernetes.io/anything", False),
        ("x.k8s.io/anything", False),
        ("notkubernetes.io/anything", True),
        ("node-restriction.kubernetes.io/x", False),
        ("a.node-restriction.kubernetes.io/x", False),
    ],
)
def test_labels_that_an_agent_may_set(label, may):
    assert noderestriction.may_label(label) is may
