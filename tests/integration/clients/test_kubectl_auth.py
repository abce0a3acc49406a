"""Who one is to the server, and what a person with few rights sees."""

import json

import pytest

from tests.integration.clients.commands import Kubectl


@pytest.fixture(scope="module")
def reader(kubectl: Kubectl) -> Kubectl:
    """A service account that may read pods in the default namespace."""
    kubectl("create", "serviceaccount", "reader")
    kubectl("create", "role", "pod-reader", "--verb=get,list,watch", "--resource=pods")
    kubectl("create", "rolebinding", "readers", "--role=pod-reader", "--serviceaccount=default:reader")
    return holder(kubectl, "reader")


def holder(kubectl: Kubectl, account: str) -> Kubectl:
    kubeconfig = kubectl.home / f"{account}.kubeconfig"
    kubeconfig.write_text(kubectl("config", "view", "--raw", "--flatten", "--minify"))
    kubeconfig.chmod(0o600)
    made = Kubectl(kubeconfig)
    made("config", "unset", "users")
    made("config", "set-credentials", account, f"--token={kubectl('create', 'token', account).strip()}")
    made("config", "set-context", "--current", f"--user={account}")
    return made


def test_who_one_is(kubectl: Kubectl, reader: Kubectl) -> None:
    me = json.loads(kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert me["username"].endswith("-admin")
    assert "system:masters" in me["groups"]
    lines = reader("auth", "whoami").splitlines()
    assert ["Username", "system:serviceaccount:default:reader"] in [line.split() for line in lines]


def test_what_one_may(kubectl: Kubectl, reader: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "deployments.apps") == "yes\n"
    assert reader("auth", "can-i", "list", "pods") == "yes\n"
    refused = reader.run("auth", "can-i", "list", "secrets")
    assert (refused.returncode, refused.stdout) == (1, "no\n")
    assert reader.run("auth", "can-i", "list", "pods", "-n", "kube-system").stdout == "no\n"
    listed = [line.split() for line in reader("auth", "can-i", "--list").splitlines()]
    assert ["pods", "[]", "[]", "[get", "list", "watch]"] in listed


def test_a_reader_reads_and_is_refused_the_rest(reader: Kubectl) -> None:
    assert reader("get", "pods") == "No resources found in default namespace.\n"
    user = 'User "system:serviceaccount:default:reader"'
    complaint = reader.fails("create", "configmap", "x")
    assert f'{user} cannot create resource "configmaps" in API group "" in the namespace "default"' in complaint
    assert "pods is forbidden" in reader.fails("get", "pods", "-A")


def test_one_may_be_asked_about_as_another(kubectl: Kubectl, reader: Kubectl) -> None:
    account = "--as=system:serviceaccount:default:reader"
    assert kubectl("auth", "can-i", "watch", "pods", account) == "yes\n"
    assert kubectl.run("auth", "can-i", "delete", "pods", account).stdout == "no\n"
    assert "cannot impersonate" in reader.fails("get", "pods", "--as=somebody")
