"""`kubectl` as a reader: get in all its forms, describe, explain, discovery, events, proxy."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.clients.commands import Kubectl

WAIT = "--timeout=60s"


@pytest.fixture(scope="module")
def pods(kubectl: Kubectl) -> list[str]:
    """Three pods that run, made in this order."""
    for name, tier in (("charlie", "front"), ("alpha", "back"), ("bravo", "front")):
        kubectl("run", name, f"--image={name}:1", f"--labels=tier={tier},app=letters")
    kubectl("wait", "--for=condition=Ready", "pods", "-l", "app=letters", WAIT)
    return ["charlie", "alpha", "bravo"]


def test_get_prints_a_table_also_wide_and_with_labels(kubectl: Kubectl, pods: list[str]) -> None:
    header, *rows = [line.split() for line in kubectl("get", "pods").splitlines()]
    assert header == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [row[:4] for row in rows] == [[name, "1/1", "Running", "0"] for name in sorted(pods)]
    wide = kubectl("get", "pod", "alpha", "-o", "wide").splitlines()
    assert wide[0].split("   ")[-1].strip() == "READINESS GATES"
    assert wide[1].split()[6] == "hollow"
    assert kubectl.rows("pods", "-L", "tier")[1][5:] == ["front"]
    assert kubectl.rows("pod", "alpha", "--show-labels")[0][5] == "app=letters,tier=back"
    both = kubectl("get", "pod/alpha", "service/kubernetes").splitlines()
    assert [line.split()[0] for line in both if line] == ["NAME", "pod/alpha", "NAME", "service/kubernetes"]


def test_get_prints_objects_in_every_form(kubectl: Kubectl, pods: list[str]) -> None:
    as_json = json.loads(kubectl("get", "pod", "alpha", "-o", "json"))
    assert yaml.safe_load(kubectl("get", "pod", "alpha", "-o", "yaml")) == as_json
    assert (as_json["kind"], as_json["metadata"]["name"]) == ("Pod", "alpha")
    assert kubectl("get", "pods", "-o", "name").split() == ["pod/alpha", "pod/bravo", "pod/charlie"]
    template = "go-template={{range .items}}{{.metadata.name}} {{end}}"
    assert kubectl("get", "pods", "-o", template) == "alpha bravo charlie "
    path = 'jsonpath={.items[?(@.metadata.labels.tier=="back")].spec.containers[*].image}'
    assert kubectl("get", "pods", "-o", path) == "alpha:1"
    columns = "custom-columns=WHO:.metadata.name,WHAT:.spec.containers[0].image"
    assert [line.split() for line in kubectl("get", "pods", "-o", columns).splitlines()] == [
        ["WHO", "WHAT"], ["alpha", "alpha:1"], ["bravo", "bravo:1"], ["charlie", "charlie:1"],
    ]  # fmt: skip


def test_get_sorts_selects_and_pages(kubectl: Kubectl, pods: list[str]) -> None:
    def names(*arguments: str) -> list[str]:
        return [name.removeprefix("pod/") for name in kubectl("get", "pods", *arguments, "-o", "name").split()]

    images = kubectl("get", "pods", "--sort-by={.spec.containers[0].image}", "-o", "name").split()
    assert images == ["pod/alpha", "pod/bravo", "pod/charlie"]
    assert names("-l", "tier in (front, side), app!=numbers") == ["bravo", "charlie"]
    assert names("-l", "tier notin (front),missing!=x") == ["alpha"]
    assert names("-l", "!tier") == []
    assert names("--field-selector=status.phase=Running,metadata.name!=alpha") == ["bravo", "charlie"]
    assert names("--field-selector=spec.nodeName=hollow", "--chunk-size=1") == ["alpha", "bravo", "charlie"]
    assert "field label not supported: spec.colour" in kubectl.fails("get", "pods", "--field-selector=spec.colour=red")
    everywhere = kubectl.rows("serviceaccounts", "-A", "--chunk-size=2")
    assert sorted(row[0] for row in everywhere if row[1] == "default") == [
        "default", "kube-node-lease", "kube-public", "kube-system",
    ]  # fmt: skip


def test_get_watches_only_what_it_selects(kubectl: Kubectl) -> None:
    with kubectl.background("get", "configmaps", "-l", "watched=yes", "--watch", "--output-watch-events") as watching:
        assert watching.stdout is not None
        kubectl("create", "configmap", "other")
        kubectl("create", "configmap", "watched")
        kubectl("label", "configmap", "watched", "watched=yes")
        kubectl("label", "configmap", "watched", "watched-")
        lines = [watching.stdout.readline().split() for _ in range(3)]
    assert lines[0] == ["EVENT", "NAME", "DATA", "AGE"]
    assert [line[:2] for line in lines[1:]] == [["ADDED", "watched"], ["DELETED", "watched"]]


def test_get_raw_is_the_answer_itself(kubectl: Kubectl) -> None:
    assert json.loads(kubectl("get", "--raw", "/version"))["major"] == "1"
    assert kubectl("get", "--raw", "/readyz") == "ok"
    listed = json.loads(kubectl("get", "--raw", "/api/v1/namespaces/default/serviceaccounts?limit=1"))
    assert listed["kind"] == "ServiceAccountList"
    assert "NotFound" in kubectl.fails("get", "--raw", "/api/v1/nothing")


def test_what_is_not_there_is_said_in_kubectls_words(kubectl: Kubectl) -> None:
    assert kubectl("get", "jobs") == "No resources found in default namespace.\n"
    assert kubectl("get", "jobs", "-A") == "No resources found\n"
    assert kubectl.fails("get", "pod", "nobody") == 'Error from server (NotFound): pods "nobody" not found\n'
    assert kubectl.fails("get", "gadgets") == 'error: the server doesn\'t have a resource type "gadgets"\n'


def test_api_resources_and_versions_are_listed(kubectl: Kubectl) -> None:
    versions = kubectl("api-versions").split()
    assert versions == sorted(versions)
    assert {"v1", "apps/v1", "batch/v1", "autoscaling/v1", "autoscaling/v2", "hypernetes.io/v1"} <= set(versions)
    wide = {row.split()[0]: row for row in kubectl("api-resources", "-o", "wide", "--api-group=apps").splitlines()}
    assert wide["deployments"].split()[1:] == [
        "deploy", "apps/v1", "true", "Deployment", "create,delete,deletecollection,get,list,patch,update,watch", "all",
    ]  # fmt: skip
    cluster = kubectl("api-resources", "--namespaced=false", "-o", "name").split()
    assert {"nodes", "namespaces", "persistentvolumes", "storageclasses.storage.k8s.io"} <= set(cluster)
    assert "pods" not in cluster
    assert "selfsubjectreviews.authentication.k8s.io" not in kubectl("api-resources", "--verbs=list", "-o", "name")


def test_the_preferred_versions_are_upstreams(kubectl: Kubectl) -> None:
    rows = [line.split() for line in kubectl("api-resources", "--no-headers").splitlines()]
    versions = {row[0]: row[-3] for row in rows}
    assert versions["horizontalpodautoscalers"] == "autoscaling/v2"
    assert versions["endpointslices"] == "discovery.k8s.io/v1"


def complaints(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if not re.match(r"Warning: v1 \w+ is deprecated", line)]


# kubectl up to 1.32 asks for v1beta1 of these to describe them, which upstream offers only when told to.
DESCRIBED_BY_BETA = {"ipaddresses.networking.k8s.io", "servicecidrs.networking.k8s.io"}


def test_every_listable_kind_is_got_and_described(kubectl: Kubectl) -> None:
    names = kubectl("api-resources", "--verbs=list", "-o", "name").split()
    printed = kubectl.run("get", ",".join(names), "-A", "--ignore-not-found")
    assert (printed.returncode, complaints(printed.stderr)) == (0, [])
    described = kubectl.run("describe", ",".join(sorted({*names} - {"componentstatuses"} - DESCRIBED_BY_BETA)), "-A")
    assert (described.returncode, complaints(described.stderr)) == (0, [])
    assert "Name:                     kubernetes" in described.stdout


def test_explain_knows_fields_of_every_version(kubectl: Kubectl) -> None:
    tree = kubectl("explain", "deployment", "--recursive")
    assert tree.splitlines()[:3] == ["GROUP:      apps", "KIND:       Deployment", "VERSION:    v1"]
    for line in ("  spec\t<DeploymentSpec>", "    replicas\t<integer>", "        containers\t<[]Container> -required-"):
        assert line in tree.splitlines()
    field = kubectl("explain", "pod.spec.restartPolicy")
    assert "FIELD: restartPolicy <string>" in field.splitlines()
    assert "<empty>" not in kubectl("explain", "deployment.spec")
    assert "<no description>" not in kubectl("explain", "deployment.spec")
    older = kubectl("explain", "hpa.spec", "--api-version=autoscaling/v1")
    assert "targetCPUUtilizationPercentage\t<integer>" in older
    newer = kubectl("explain", "hpa.spec", "--api-version=autoscaling/v2")
    assert "metrics\t<[]MetricSpec>" in newer
    assert 'field "colour" does not exist' in kubectl.fails("explain", "pod.spec.colour")


def test_events_are_told_for_an_object_and_by_type(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "told", "--image=x:1")
    kubectl("rollout", "status", "deployment/told", WAIT)
    header, *rows = kubectl("events", "--for=deployment/told").splitlines()
    assert header.split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert [row.split()[1:4] for row in rows] == [["Normal", "ScalingReplicaSet", "Deployment/told"]]
    assert kubectl("events", "--types=Warning", "--for=deployment/told") == "No events found in default namespace.\n"
    listed = kubectl(
        "get", "events", "--field-selector=involvedObject.name=told,reason=ScalingReplicaSet", "-o", "name"
    )
    assert len(listed.split()) == 1
    with kubectl.background("events", "--for=deployment/told", "--watch") as watching:
        assert watching.stdout is not None
        seen = [watching.stdout.readline() for _ in range(2)]
        kubectl("scale", "deployment/told", "--replicas=0")
        assert "ScalingReplicaSet" in seen[1]
        assert "from 1 to 0" in watching.stdout.readline()
    kubectl("delete", "deployment/told")


def test_proxy_opens_the_api_on_a_local_port(kubectl: Kubectl) -> None:
    with kubectl.background("proxy", "--port=0") as proxy:
        assert proxy.stdout is not None
        url = "http://" + proxy.stdout.readline().split()[-1]

        def answer(path: str) -> Any:
            with urllib.request.urlopen(url + path, timeout=30) as response:
                return json.load(response)

        assert answer("/api/v1/namespaces/default")["metadata"]["name"] == "default"
        assert answer("/version")["major"] == "1"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            answer("/api/v1/namespaces/nowhere")


def test_what_the_cluster_is_is_told(kubectl: Kubectl, tmp_path: Path) -> None:
    version = json.loads(kubectl.run("version", "-o", "json").stdout)["serverVersion"]
    assert (version["major"], version["minor"]) == ("1", "36")
    assert "Kubernetes control plane is running at https://127.0.0.1:" in kubectl("cluster-info", NO_COLOR="1")
    kubectl("cluster-info", "dump", f"--output-directory={tmp_path}")
    assert json.loads((tmp_path / "nodes.json").read_text())["items"][0]["metadata"]["name"] == "hollow"


def test_without_agents_nobody_knows_what_pods_use(kubectl: Kubectl, pods: list[str]) -> None:
    assert json.loads(kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/pods"))["items"] == []
    assert kubectl.fails("top", "pods") == "error: metrics not available yet\n"
    assert kubectl.fails("top", "nodes") == "error: metrics not available yet\n"
