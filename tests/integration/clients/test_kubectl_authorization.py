"""`kubectl` and who may: auth can-i, reconcile, create token, namespaces that one may see, roles that add to others,
certificate approve and deny."""

import base64
import json

import pytest
import yaml

from hypernetes.pki.certificates import new_key, signing_request
from tests.integration.clients.commands import Kubectl

ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: default}
rules:
- {apiGroups: [""], resources: [pods], verbs: [get, list]}
"""


@pytest.fixture(scope="module")
def kubectl(kubectl: Kubectl) -> Kubectl:
    """In the tenant, jane may edit what is in the namespace web."""
    kubectl("create", "namespace", "web")
    kubectl("create", "rolebinding", "jane", "--clusterrole=edit", "--user=jane", "-n", "web")
    return kubectl


def test_can_i_says_what_one_may_and_exits_accordingly(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "*", "*").splitlines()[-1] == "yes"
    assert kubectl("auth", "can-i", "create", "pods", "-n", "web", "--as=jane") == "yes\n"
    assert kubectl("auth", "can-i", "get", "pods", "--subresource=log", "-n", "web", "--as=jane") == "yes\n"
    for question in (("create", "pods"), ("list", "secrets", "-A"), ("delete", "namespace/web"), ("get", "/metrics")):
        done = kubectl.run("auth", "can-i", *question, "--as=jane")
        assert (done.returncode, done.stdout.splitlines()[0].partition(" ")[0]) == (1, "no"), question
    assert kubectl("auth", "can-i", "get", "/version", "--as=jane") == "yes\n"


def test_can_i_lists_all_that_one_may(kubectl: Kubectl) -> None:
    listed = kubectl("auth", "can-i", "--list", "-n", "web", "--as=jane")
    rows = {line.split()[0]: line for line in listed.splitlines()[1:]}
    assert "create" in rows["deployments.apps"]
    assert "create" in rows["selfsubjectaccessreviews.authorization.k8s.io"]
    assert "[/api/*]" in listed
    assert "deployments.apps" not in kubectl("auth", "can-i", "--list", "-n", "default", "--as=jane")


def test_reconcile_makes_a_role_adds_what_it_lacks_and_takes_what_is_too_much(kubectl: Kubectl) -> None:
    assert "reconciled" in kubectl("auth", "reconcile", "-f", "-", stdin=ROLE)
    assert kubectl.get("role/reader")["rules"][0]["verbs"] == ["get", "list"]
    more = ROLE.replace("get, list", "watch")
    assert "reconciled" in kubectl("auth", "reconcile", "-f", "-", stdin=more)
    verbs = {verb for rule in kubectl.get("role/reader")["rules"] for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}
    assert "reconciled" in kubectl("auth", "reconcile", "-f", "-", "--remove-extra-permissions", stdin=more)
    assert [rule["verbs"] for rule in kubectl.get("role/reader")["rules"]] == [["watch"]]


def test_a_token_is_its_service_account_until_that_goes(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "robot", "-n", "web")
    kubectl("create", "rolebinding", "robot", "--clusterrole=view", "--serviceaccount=web:robot", "-n", "web")
    token = kubectl("create", "token", "robot", "-n", "web", "--duration=20m").strip()
    config = yaml.safe_load(kubectl.kubeconfig.read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = kubectl.kubeconfig.with_name("robot.kubeconfig")
    path.write_text(yaml.safe_dump(config))
    robot = Kubectl(path)
    assert "system:serviceaccount:web:robot" in robot("auth", "whoami")
    robot("get", "pods", "-n", "web")
    assert "forbidden" in robot.fails("get", "pods", "-n", "default")
    assert "forbidden" in robot.fails("create", "configmap", "x", "-n", "web")
    kubectl("delete", "serviceaccount", "robot", "-n", "web")
    assert "must be logged in" in robot.fails("get", "pods", "-n", "web")


def test_who_is_bound_in_a_namespace_works_there_and_sees_it_in_the_list(kubectl: Kubectl) -> None:
    listed = kubectl("get", "namespaces", "--as=jane")
    assert "filtered" in listed
    assert [line.split()[0] for line in listed.splitlines() if "Active" in line] == ["web"]
    kubectl("create", "configmap", "x", "-n", "web", "--as=jane")
    assert 'User "jane" cannot create resource "configmaps"' in kubectl.fails("create", "configmap", "x", "--as=jane")
    escalating = ("create", "rolebinding", "more", "--clusterrole=cluster-admin", "--user=jane", "-n", "web")
    assert "forbidden" in kubectl.fails(*escalating, "--as=jane")


def test_a_tenants_role_adds_to_the_shared_ones_and_aggregates_of_its_own_are_filled(kubectl: Kubectl) -> None:
    question = ("auth", "can-i", "create", "resourcequotas", "-n", "web", "--as=jane")
    assert kubectl.run(*question).returncode == 1
    part = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {
            "name": "part", "labels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true", "part": "yes"},
        },
        "rules": [{"verbs": ["create"], "apiGroups": [""], "resources": ["resourcequotas"]}],
    }  # fmt: skip
    whole = {
        **part, "metadata": {"name": "whole"}, "rules": [],
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part": "yes"}}]},
    }  # fmt: skip
    for each in (part, whole):
        kubectl("create", "-f", "-", stdin=json.dumps(each))
    assert "yes" in kubectl(*question)
    kubectl("wait", "clusterrole/whole", "--for=jsonpath={.rules[0].resources[0]}=resourcequotas", "--timeout=60s")
    rows = [row[0] for row in kubectl.rows("clusterroles")]
    assert {"admin", "cluster-admin", "edit", "part", "view", "whole"} <= set(rows)
    assert rows == sorted(rows)
    assert "pods" in kubectl("describe", "clusterrole", "edit")
    assert "forbidden" in kubectl.fails("delete", "clusterrole", "edit")


def test_a_certificate_request_is_approved_and_signed_or_denied(kubectl: Kubectl) -> None:
    def request(name: str) -> str:
        encoded = base64.b64encode(signing_request("john", new_key())).decode()
        spec = {
            "request": encoded, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
            "expirationSeconds": 3600,
        }  # fmt: skip
        kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
        return json.dumps({**kind, "metadata": {"name": name}, "spec": spec})

    for name in ("good", "bad"):
        kubectl("create", "-f", "-", stdin=request(name))
    assert [row[0] for row in kubectl.rows("csr")] == ["bad", "good"]
    assert "approved" in kubectl("certificate", "approve", "good")
    assert "denied" in kubectl("certificate", "deny", "bad")
    kubectl("wait", "csr/good", "--for=jsonpath={.status.certificate}", "--timeout=60s")
    assert "Approved,Issued" in kubectl("get", "csr", "good")
    assert "Denied" in kubectl("get", "csr", "bad")
