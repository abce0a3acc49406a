"""What the agent of a node may, by what its pods name."""

from typing import Any

import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver.authz import forbidden
from hypernetes.apiserver.authz.nodegraph import references
from tests.unit.apiserver.authz.policies import Cluster, ask, user

HYPERNETES = "hypernetes.io"
NODE = user("system:node:n1", "system:nodes", tenant="system", component=True)
OWN = "spec.nodeName=n1"
POD: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "web", "uid": "u1"},
    "spec": {
        "nodeName": "n1", "serviceAccountName": "robot", "imagePullSecrets": [{"name": "pull"}],
        "volumes": [
            {"name": "a", "secret": {"secretName": "vol"}}, {"name": "b", "configMap": {"name": "cm"}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "disk"}},
            {"name": "d", "projected": {"sources": [{"secret": {"name": "proj"}}, {"configMap": {"name": "pcm"}}]}},
        ],
        "containers": [
            {
                "name": "c", "envFrom": [{"secretRef": {"name": "env"}}, {"configMapRef": {"name": "ecm"}}],
                "env": [
                    {"name": "X", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}},
                    {"name": "Y", "valueFrom": {"configMapKeyRef": {"name": "kcm", "key": "k"}}},
                ],
            }
        ],
    },
}  # fmt: skip


def pod(name: str, node: str, namespace: str = "web") -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "uid": name},
        "spec": {"nodeName": node, "containers": [{"name": "c"}]},
    }  # fmt: skip


def port(name: str, node: str) -> dict[str, Any]:
    return {"apiVersion": "hypernetes.io/v1", "kind": "Port", "metadata": {"name": name}, "spec": {"nodeName": node}}


def attachment(name: str, node: str) -> dict[str, Any]:
    return {**port(name, node), "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment"}


def node_volume(name: str, node: str) -> dict[str, Any]:
    return {**port(name, node), "kind": "NodeVolume"}


@pytest.fixture
def cluster() -> Cluster:
    """acme has a pod on n1 and one on n2; globex has one on n2."""
    cluster = Cluster()
    account = {
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "web"},
        "imagePullSecrets": [{"name": "of-account"}],
    }  # fmt: skip
    cluster.put("acme", account, POD, pod("other", "n2"), port("mine", "n1"), port("theirs", "n2"))
    cluster.put("acme", node_volume("kept", "n1"), node_volume("elsewhere", "n2"))
    cluster.put("acme", attachment("here", "n1"), attachment("there", "n2"))
    cluster.put("globex", pod("p", "n2"))
    return cluster


def test_every_way_to_name_something_is_found() -> None:
    found = references(POD)
    assert found.secrets == {"vol", "proj", "env", "key", "pull"}
    assert found.config_maps == {"cm", "pcm", "ecm", "kcm"}
    assert (found.claims, found.account) == ({"disk"}, "robot")


@pytest.mark.parametrize("name", ["vol", "proj", "env", "key", "pull", "of-account"])
def test_a_secret_is_read_where_a_pod_of_the_node_names_it_and_nowhere_else(cluster: Cluster, name: str) -> None:
    assert cluster.allows(NODE, ask("acme", "get", "secrets", namespace="web", name=name))
    for asked in (
        ask("acme", "get", "secrets", namespace="web", name="another"),
        ask("acme", "get", "secrets", namespace="db", name=name),
        ask("globex", "get", "secrets", namespace="web", name=name),
        ask("system", "get", "secrets", namespace="web", name=name),
        ask("acme", "list", "secrets", namespace="web"), ask("*", "list", "secrets"),
        ask("acme", "watch", "secrets", namespace="web", name=name, fields=f"metadata.name={name}"),
        ask("acme", "update", "secrets", namespace="web", name=name),
    ):  # fmt: skip
        assert not cluster.allows(NODE, asked), asked
    other = user("system:node:n2", "system:nodes", tenant="system", component=True)
    assert not cluster.allows(other, ask("acme", "get", "secrets", namespace="web", name=name))


@pytest.mark.parametrize(
    "asked",
    [
        ask("*", "list", "pods", fields=OWN), ask("*", "watch", "pods", fields=f"{OWN},status.phase!=Failed"),
        ask("acme", "get", "pods", namespace="web", name="p"),
        ask("acme", "patch", "pods/status", namespace="web", name="p"),
        ask("acme", "delete", "pods", namespace="web", name="p"),
        ask("acme", "get", "configmaps", namespace="web", name="cm"),
        ask("acme", "get", "persistentvolumeclaims", namespace="web", name="disk"),
        ask("acme", "get", "serviceaccounts", namespace="web", name="robot"),
        ask("acme", "create", "serviceaccounts/token", namespace="web", name="robot"),
        ask("acme", "get", "namespaces", namespace="web", name="web"),
        ask("acme", "list", "services"), ask("acme", "watch", "endpointslices", group="discovery.k8s.io"),
        ask("acme", "get", "networks", group=HYPERNETES, name="default"),
        ask("system", "get", "tenants", group=HYPERNETES, name="acme"),
        ask("acme", "list", "ports", group=HYPERNETES), ask("acme", "create", "ports", group=HYPERNETES),
        ask("acme", "watch", "ports", group=HYPERNETES), ask("acme", "patch", "ports", group=HYPERNETES, name="mine"),
        ask("acme", "list", "networkpolicies", group="networking.k8s.io"),
        ask("acme", "watch", "networkpolicies", group="networking.k8s.io"),
        ask("acme", "list", "namespaces"), ask("acme", "watch", "namespaces"),
        ask("acme", "delete", "ports", group=HYPERNETES, name="mine"),
        ask("acme", "create", "events", namespace="web"),
        ask("system", "create", "nodes"), ask("system", "create", "nodes", name="n1"),
        ask("system", "get", "nodes", name="n1"), ask("system", "patch", "nodes/status", name="n1"),
        ask("system", "update", "leases", group="coordination.k8s.io", namespace="kube-node-lease", name="n1"),
        ask("system", "get", "/api"),
        ask("acme", "patch", "volumeattachments", group="storage.k8s.io", name="here"),
        ask("*", "watch", "nodevolumes", group=HYPERNETES, fields=OWN),
        ask("acme", "patch", "nodevolumes", group=HYPERNETES, name="kept"),
        ask("acme", "patch", "nodevolumes/status", group=HYPERNETES, name="kept"),
        ask("*", "list", "volumeattachments", group="storage.k8s.io", fields=OWN),
    ],
)  # fmt: skip
def test_an_agent_may_what_its_pods_need(cluster: Cluster, asked: Any) -> None:
    assert cluster.allows(NODE, asked)


@pytest.mark.parametrize(
    "asked",
    [
        ask("*", "list", "pods"), ask("*", "list", "pods", fields="spec.nodeName=n2"),
        ask("*", "list", "pods", fields="spec.nodeName!=n1"), ask("*", "list", "pods", fields="spec.nodeName=n1,=,"),
        ask("acme", "deletecollection", "pods", namespace="web", fields=OWN),
        ask("acme", "get", "pods", namespace="web", name="other"),
        ask("acme", "patch", "pods/status", namespace="web", name="other"),
        ask("globex", "delete", "pods", namespace="web", name="p"),
        ask("acme", "create", "pods", namespace="web"), ask("acme", "update", "pods", namespace="web", name="p"),
        ask("acme", "create", "pods/exec", namespace="web", name="p"),
        ask("acme", "create", "pods/binding", namespace="web", name="p"),
        ask("acme", "get", "configmaps", namespace="web", name="another"), ask("acme", "list", "configmaps"),
        ask("acme", "create", "serviceaccounts/token", namespace="web", name="default"),
        ask("globex", "create", "serviceaccounts/token", namespace="web", name="default"),
        ask("acme", "get", "namespaces", namespace="db", name="db"),
        ask("globex", "list", "services"), ask("*", "list", "services"), ask("*", "watch", "services"),
        ask("globex", "get", "networks", group=HYPERNETES, name="default"),
        ask("system", "get", "tenants", group=HYPERNETES, name="globex"),
        ask("system", "list", "tenants", group=HYPERNETES), ask("system", "create", "tenants", group=HYPERNETES),
        ask("globex", "list", "ports", group=HYPERNETES), ask("*", "watch", "ports", group=HYPERNETES),
        ask("acme", "patch", "ports", group=HYPERNETES, name="theirs"),
        ask("acme", "update", "networkpolicies", group="networking.k8s.io", name="p"),
        ask("globex", "list", "networkpolicies", group="networking.k8s.io"),
        ask("globex", "watch", "namespaces"), ask("*", "list", "namespaces"),
        ask("acme", "delete", "ports", group=HYPERNETES, name="theirs"),
        ask("acme", "get", "ports", group=HYPERNETES, name="theirs"),
        ask("*", "create", "events"), ask("acme", "create", "nodes"), ask("system", "create", "nodes", name="n2"),
        ask("system", "get", "nodes", name="n2"), ask("system", "list", "nodes"),
        ask("system", "patch", "nodes/status", name="n2"), ask("system", "delete", "nodes", name="n1"),
        ask("system", "update", "leases", group="coordination.k8s.io", namespace="kube-node-lease", name="n2"),
        ask("system", "update", "leases", group="coordination.k8s.io", namespace="kube-system", name="n1"),
        ask("acme", "patch", "volumeattachments", group="storage.k8s.io", name="there"),
        ask("acme", "patch", "persistentvolumeclaims/status", namespace="web", name="disk"),
        ask("acme", "patch", "persistentvolumeclaims", namespace="web", name="disk"),
        ask("*", "watch", "nodevolumes", group=HYPERNETES), ask("acme", "create", "nodevolumes", group=HYPERNETES),
        ask("acme", "patch", "nodevolumes/status", group=HYPERNETES, name="elsewhere"),
        ask("acme", "delete", "nodevolumes", group=HYPERNETES, name="kept"),
        ask("*", "list", "volumeattachments", group="storage.k8s.io"),
        ask("acme", "patch", "volumeattachments/status", group="storage.k8s.io", name="a"),
        ask("system", "create", "certificatesigningrequests/approval", group="certificates.k8s.io", name="x"),
    ],
)  # fmt: skip
def test_an_agent_may_nothing_else(cluster: Cluster, asked: Any) -> None:
    assert not cluster.allows(NODE, asked)


def test_what_a_pod_named_is_closed_again_when_it_goes(cluster: Cluster) -> None:
    asked = ask("acme", "get", "secrets", namespace="web", name="vol")
    assert cluster.allows(NODE, asked)
    changed = {**POD, "spec": {**POD["spec"], "volumes": []}}
    cluster.put("acme", changed)
    assert not cluster.allows(NODE, asked)
    cluster.put("acme", POD)
    assert cluster.allows(NODE, asked)
    cluster.remove("acme", POD)
    assert not cluster.allows(NODE, asked)
    assert not cluster.allows(NODE, ask("acme", "list", "services"))


def test_a_pod_is_a_nodes_from_its_binding_on(cluster: Cluster) -> None:
    asked = ask("globex", "get", "pods", namespace="web", name="new")
    waiting = pod("new", "n1")
    del waiting["spec"]["nodeName"]
    cluster.put("globex", waiting)
    assert not cluster.allows(NODE, asked)
    cluster.put("globex", pod("new", "n1"))
    assert cluster.allows(NODE, asked)


def test_an_agent_is_told_that_its_pod_is_gone_and_of_another_only_that_it_may_not(cluster: Cluster) -> None:
    def refusal(name: str) -> StatusError:
        asked = ask("acme", "get", "pods", namespace="web", name=name)
        return forbidden(NODE, asked, cluster.authorizer.authorize(NODE, asked))

    assert refusal("gone").code == 404
    assert refusal("other").code == 403
