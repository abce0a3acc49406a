"""`kubectl` with server-side apply: who manages what, conflicts, and the way over from client-side apply."""

import json
from typing import Any

import pytest

from tests.integration.clients.commands import Kubectl


def config(name: str, **data: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


def managers(kubectl: Kubectl, name: str, kind: str = "configmap") -> dict[tuple[str, str], Any]:
    """(manager, operation) -> the fields that it manages."""
    shown = json.loads(kubectl("get", kind, name, "-o", "json", "--show-managed-fields"))
    return {(each["manager"], each["operation"]): each["fieldsV1"] for each in shown["metadata"]["managedFields"]}


def test_apply_makes_changes_and_removes(kubectl: Kubectl) -> None:
    said = kubectl("apply", "--server-side", "-f", "-", stdin=config("plain", a="1", b="1"))
    assert said == "configmap/plain serverside-applied\n"
    assert managers(kubectl, "plain") == {("kubectl", "Apply"): {"f:data": {"f:a": {}, "f:b": {}}}}
    kubectl("apply", "--server-side", "-f", "-", stdin=config("plain", a="2"))
    shown = kubectl.get("configmap/plain")
    assert shown["data"] == {"a": "2"}
    assert "managedFields" not in shown["metadata"], "kubectl hides them"
    before = shown["metadata"]["resourceVersion"]
    kubectl("apply", "--server-side", "-f", "-", stdin=config("plain", a="2"))
    assert kubectl.get("configmap/plain")["metadata"]["resourceVersion"] == before


def test_a_conflict_names_the_manager_and_what_may_be_done(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--field-manager", "shop", "-f", "-", stdin=config("contested", a="1", b="1"))
    told = kubectl.fails("apply", "--server-side", "-f", "-", stdin=config("contested", a="2", b="2"))
    lines = [line.strip() for line in told.splitlines()]
    assert lines[0].startswith('error: Apply failed with 2 conflicts: conflicts with "shop":')
    assert {"- .data.a", "- .data.b"} <= set(lines)
    assert "--force-conflicts" in told
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=config("contested", a="2"))
    assert managers(kubectl, "contested") == {
        ("shop", "Apply"): {"f:data": {"f:b": {}}},
        ("kubectl", "Apply"): {"f:data": {"f:a": {}}},
    }


def test_commands_that_change_fields_take_them_over(kubectl: Kubectl) -> None:
    manifest = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    }  # fmt: skip
    kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    kubectl("set", "image", "deployment/web", "web=web:2")
    kubectl("annotate", "deployment/web", "note=x", "--field-manager", "somebody")
    told = kubectl.fails("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    assert 'conflict with "kubectl-set" using apps/v1: .spec.template.spec.containers[name="web"].image' in told
    shown = json.loads(kubectl("get", "deployment", "web", "-o", "json", "--show-managed-fields"))
    found = {each["manager"]: each for each in shown["metadata"]["managedFields"] if each["operation"] == "Update"}
    assert "f:note" in found["somebody"]["fieldsV1"]["f:metadata"]["f:annotations"]
    kubectl("scale", "deployment/web", "--replicas=1")
    told = kubectl.fails("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    assert 'conflicts with "kubectl" with subresource "scale" using apps/v1:' in told
    assert "- .spec.replicas" in told


def test_a_diff_shows_what_an_apply_would_change(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin=config("compared", a="1"))
    assert kubectl("diff", "--server-side", "-f", "-", stdin=config("compared", a="1")) == ""
    done = kubectl.run("diff", "--server-side", "-f", "-", stdin=config("compared", a="2"))
    assert done.returncode == 1, done.stderr
    changed = [line for line in done.stdout.splitlines() if line.startswith(("-  ", "+  "))]
    assert changed == ['-  a: "1"', '+  a: "2"']
    assert kubectl.get("configmap/compared")["data"] == {"a": "1"}
    applied = kubectl("apply", "--server-side", "--dry-run=server", "-o", "json", "-f", "-", stdin=config("new", a="1"))
    assert json.loads(applied)["data"] == {"a": "1"}
    assert "NotFound" in kubectl.fails("get", "configmap", "new")


def test_who_goes_over_from_client_side_apply_keeps_what_was_applied(kubectl: Kubectl) -> None:
    """kubectl gives its former manager's fields to the one that applies now, and then removes what isn't said."""
    kubectl("apply", "-f", "-", stdin=config("former", a="1", b="1"))
    assert list(managers(kubectl, "former")) == [("kubectl-client-side-apply", "Update")]
    kubectl("apply", "--server-side", "-f", "-", stdin=config("former", a="2"))
    assert kubectl.get("configmap/former")["data"] == {"a": "2"}
    found = managers(kubectl, "former")
    assert found[("kubectl", "Apply")]["f:data"] == {"f:a": {}}
    last = json.loads(kubectl("apply", "view-last-applied", "configmap/former", "-o", "json"))
    assert last["data"] == {"a": "2"}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("namespace", {"f:metadata": {"f:labels": {"f:a": {}}}}),
        ("networkpolicy", {"f:spec": {"f:podSelector": {}, "f:policyTypes": {}}}),
        ("networks.hypernetes.io", {"f:spec": {"f:subnets": {"f:one": {".": {}, "f:cidr": {}, "f:gateway": {}}}}}),
    ],
)
def test_cluster_wide_and_our_own_kinds_are_applied_too(kubectl: Kubectl, kind: str, fields: Any) -> None:
    manifests = {
        "namespace": {
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "applied", "labels": {"a": "b"}},
        },
        "networkpolicy": {
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "applied"},
            "spec": {"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress"]},
        },
        "networks.hypernetes.io": {
            "apiVersion": "hypernetes.io/v1", "kind": "Network", "metadata": {"name": "applied"},
            "spec": {"subnets": {"one": {"cidr": "10.9.0.0/24", "gateway": "10.9.0.1"}}},
        },
    }  # fmt: skip
    manifest = json.dumps(manifests[kind])
    for _ in range(2):
        assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=manifest)
    found = managers(kubectl, "applied", kind)[("kubectl", "Apply")]
    assert found == fields
