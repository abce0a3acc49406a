"""`kubectl` with manifests: apply, diff, prune, kustomize, replace, patch, edit."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.clients.commands import Kubectl

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}, labels: {{set: {set}}}}}
data: {{colour: {colour}}}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web:1
        env: [{name: A, value: a}, {name: B, value: b}]
        ports: [{containerPort: 80}]
"""


def config(name: str, colour: str = "red", set: str = "plain") -> str:
    return CONFIG.format(name=name, colour=colour, set=set)


@pytest.fixture(scope="module")
def web(kubectl: Kubectl) -> str:
    """A Deployment without replicas."""
    assert kubectl("apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/web created\n"
    return "deployment/web"


def container(kubectl: Kubectl, deployment: str) -> dict[str, Any]:
    spec: dict[str, Any] = kubectl.get(deployment)["spec"]["template"]["spec"]["containers"][0]
    return spec


def test_apply_adds_changes_and_removes_by_what_it_applied_last(kubectl: Kubectl, web: str) -> None:
    kubectl("set", "env", web, "C=by-hand")
    manifest = yaml.safe_load(DEPLOYMENT)
    applied = manifest["spec"]["template"]["spec"]["containers"][0]
    applied["env"] = [{"name": "B", "value": "beta"}]
    assert kubectl("apply", "-f", "-", stdin=json.dumps(manifest)) == "deployment.apps/web configured\n"
    assert container(kubectl, web)["env"] == [{"name": "B", "value": "beta"}, {"name": "C", "value": "by-hand"}]
    kubectl("set", "env", web, "C-")  # while it is there, kubectl sends an order of the list
    assert kubectl("apply", "-f", "-", stdin=json.dumps(manifest)) == "deployment.apps/web unchanged\n"
    last = yaml.safe_load(kubectl("apply", "view-last-applied", web))
    assert last["spec"]["template"]["spec"]["containers"] == [applied]


def test_diff_shows_what_apply_would_change_and_changes_nothing(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=config("compared"))
    assert kubectl("diff", "-f", "-", stdin=config("compared")) == ""
    done = kubectl.run("diff", "-f", "-", stdin=config("compared", colour="blue"))
    assert done.returncode == 1, done.stderr
    changed = [line for line in done.stdout.splitlines() if line.startswith(("-  ", "+  "))]
    assert changed[:2] == ["-  colour: red", "+  colour: blue"]
    new = kubectl.run("diff", "-f", "-", stdin=config("new"))
    assert new.returncode == 1, new.stderr
    assert "+  name: new" in new.stdout.splitlines()
    assert kubectl("get", "configmap", "compared", "-o", "jsonpath={.data.colour}") == "red"
    assert "NotFound" in kubectl.fails("get", "configmap", "new")


def test_a_dry_run_of_apply_shows_the_result_of_the_server(kubectl: Kubectl) -> None:
    arguments = ("apply", "-f", "-", "--dry-run=server")
    assert kubectl(*arguments, stdin=config("imagined")) == "configmap/imagined created (server dry run)\n"
    shown = json.loads(kubectl(*arguments, "-o", "json", stdin=config("imagined")))
    assert shown["metadata"]["namespace"] == "default"
    assert shown["metadata"]["uid"]
    assert "NotFound" in kubectl.fails("get", "configmap", "imagined")


def test_apply_prunes_what_the_manifest_has_no_more(kubectl: Kubectl) -> None:
    both = config("first", set="pruned") + "---" + config("second", set="pruned")
    prune = ("apply", "-f", "-", "--prune", "-l", "set=pruned")
    kubectl(*prune, stdin=both)
    kubectl("create", "configmap", "by-hand")
    kubectl("label", "configmap", "by-hand", "set=pruned")
    answer = kubectl(*prune, "--prune-allowlist=core/v1/ConfigMap", stdin=config("first", set="pruned"))
    assert answer.splitlines() == ["configmap/first unchanged", "configmap/second pruned"]
    found = kubectl("get", "configmap", "-l", "set=pruned", "-o", "name").split()
    assert found == ["configmap/by-hand", "configmap/first"]  # what apply didn't make is not its to prune


def test_apply_prunes_over_all_kinds_that_it_knows(kubectl: Kubectl) -> None:
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: old, labels: {set: all}}\nspec: {ports: [{port: 80}]}\n"
    kubectl("apply", "-f", "-", stdin=service)
    answer = kubectl("apply", "-f", "-", "--prune", "-l", "set=all", stdin=config("kept", set="all"))
    assert "service/old pruned" in answer.splitlines()
    assert kubectl("get", "service,configmap", "-l", "set=all", "-o", "name").split() == ["configmap/kept"]


def test_a_kustomization_is_built_compared_and_applied(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(DEPLOYMENT)
    kustomization = {
        "namePrefix": "green-", "namespace": "default", "resources": ["web.yaml"],
        "labels": [{"pairs": {"colour": "green"}, "includeSelectors": True}],
        "images": [{"name": "web", "newTag": "2"}],
        "configMapGenerator": [{"name": "settings", "literals": ["LEVEL=debug"]}],
    }  # fmt: skip
    (tmp_path / "kustomization.yaml").write_text(json.dumps(kustomization))
    built = list(yaml.safe_load_all(kubectl("kustomize", str(tmp_path))))
    assert {entry["kind"]: entry["metadata"]["name"].rpartition("-")[0] for entry in built} == {
        "ConfigMap": "green-settings", "Deployment": "green",
    }  # fmt: skip
    assert kubectl.run("diff", "-k", str(tmp_path)).returncode == 1
    applied = kubectl("apply", "-k", str(tmp_path)).splitlines()
    assert [line.partition("/")[0] for line in applied] == ["configmap", "deployment.apps"]
    deployment = kubectl.get("deployment/green-web")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"
    assert deployment["spec"]["selector"]["matchLabels"] == {"app": "web", "colour": "green"}
    assert kubectl.run("diff", "-k", str(tmp_path)).returncode == 0
    deleted = kubectl("delete", "-k", str(tmp_path))
    assert 'deployment.apps "green-web" deleted' in deleted


def test_replace_puts_the_whole_object_in_place_of_the_old(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=config("whole"))
    kubectl("annotate", "configmap", "whole", "note=by-hand")
    before = kubectl.get("configmap/whole")["metadata"]
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: whole}\ndata: {shape: round}\n"
    assert kubectl("replace", "-f", "-", stdin=manifest) == "configmap/whole replaced\n"
    after = kubectl.get("configmap/whole")
    assert after["data"] == {"shape": "round"}
    assert (after["metadata"].get("annotations"), after["metadata"]["uid"]) == (None, before["uid"])
    before["resourceVersion"] = str(int(before["resourceVersion"]))
    stale = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": before})
    assert "the object has been modified" in kubectl.fails("replace", "-f", "-", stdin=stale)
    assert "NotFound" in kubectl.fails("replace", "-f", "-", stdin=config("nowhere"))


def test_replace_by_force_deletes_and_makes_anew(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=config("forced"))
    before = kubectl.get("configmap/forced")["metadata"]["uid"]
    answer = kubectl("replace", "--force", "-f", "-", stdin=config("forced", colour="blue"))
    assert answer.splitlines()[-1] == "configmap/forced replaced"
    after = kubectl.get("configmap/forced")
    assert (after["data"], after["metadata"]["uid"] == before) == ({"colour": "blue"}, False)


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("strategic", '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"web:strategic"}]}}}}'),
        ("json", '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"web:json"}]'),
    ],
)
def test_a_patch_of_a_list_changes_one_member(kubectl: Kubectl, web: str, kind: str, patch: str) -> None:
    assert kubectl("patch", web, f"--type={kind}", "-p", patch) == "deployment.apps/web patched\n"
    assert container(kubectl, web)["image"] == f"web:{kind}"
    assert container(kubectl, web)["ports"]
    assert kubectl("patch", web, f"--type={kind}", "-p", patch) == "deployment.apps/web patched (no change)\n"


def test_a_merge_patch_replaces_lists_and_removes_by_null(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=config("merged"))
    patch = json.dumps({"data": {"colour": None, "shape": "round"}})
    kubectl("patch", "configmap", "merged", "--type=merge", "-p", patch)
    assert kubectl.get("configmap/merged")["data"] == {"shape": "round"}


def test_a_patch_goes_to_a_subresource(kubectl: Kubectl, web: str) -> None:
    answer = kubectl("patch", web, "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":1}}')
    assert answer == "scale.autoscaling/web patched\n"
    assert kubectl("get", web, "--subresource=scale", "-o", "jsonpath={.kind} {.spec}") == 'Scale {"replicas":1}'
    shown = kubectl("get", web, "--subresource=scale").splitlines()
    assert [line.split()[:2] for line in shown] == [["NAME", "DESIRED"], ["web", "1"]]
    assert "NotFound" in kubectl.fails("patch", web, "--subresource=status", "-p", "{}", "-n", "nowhere")


def test_a_patch_that_makes_the_object_invalid_is_refused_with_the_field(kubectl: Kubectl, web: str) -> None:
    complaint = kubectl.fails("patch", web, "-p", '{"spec":{"replicas":-1}}')
    assert (
        'The Deployment "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
        in complaint
    )
    complaint = kubectl.fails("patch", web, "-p", '{"spec":{"selector":{"matchLabels":{"app":"other"}}}}')
    assert "field is immutable" in complaint


def test_edit_writes_what_the_editor_wrote(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("create", "-f", "-", stdin=config("edited"))
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/colour: red/colour: green/" "$1"\n')
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    assert kubectl("edit", "configmap", "edited", KUBE_EDITOR=str(editor)) == "configmap/edited edited\n"
    assert kubectl.get("configmap/edited")["data"] == {"colour": "green"}
    unchanged = kubectl("edit", "configmap", "edited", KUBE_EDITOR=str(editor))
    assert "Edit cancelled, no changes made" in unchanged


def test_labels_and_annotations_are_set_changed_and_removed(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=config("marked"))
    assert kubectl("label", "configmap", "marked", "tier=front", "set-") == "configmap/marked labeled\n"
    assert "already has a value (front)" in kubectl.fails("label", "configmap", "marked", "tier=back")
    kubectl("label", "configmap", "marked", "tier=back", "--overwrite")
    assert kubectl("label", "configmap", "marked", "tier=back") == "configmap/marked not labeled\n"
    assert kubectl("annotate", "configmap", "marked", "note=hand made") == "configmap/marked annotated\n"
    assert kubectl("annotate", "configmap", "marked", "--list") == "note=hand made\n"
    metadata = kubectl.get("configmap/marked")["metadata"]
    assert (metadata["labels"], metadata["annotations"]) == ({"tier": "back"}, {"note": "hand made"})
    complaint = kubectl.fails("label", "configmap", "marked", "tier=no spaces")
    assert "a valid label must be an empty string or consist of alphanumeric characters" in complaint
    kubectl("label", "configmap", "--all", "seen=yes")
    assert kubectl("get", "configmap", "-l", "seen!=yes", "-o", "name") == ""
