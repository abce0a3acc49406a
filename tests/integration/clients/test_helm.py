"""The real helm: releases with their Secrets, three-way merges, waits, hooks, and what an uninstall leaves."""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.clients.commands import Command, Kubectl

CHART = str(Path(__file__).with_name("chart"))
WAIT = ("--wait", "--timeout=60s")


@pytest.fixture(scope="module")
def helm(kubectl: Kubectl) -> Command:
    return Command("helm", kubectl.kubeconfig)


@pytest.fixture(scope="module")
def shop(helm: Command) -> Iterator[str]:
    """A release that runs."""
    printed = helm("install", "shop", CHART, "--set", "extra={one,two}", *WAIT)
    assert "STATUS: deployed\nREVISION: 1\n" in printed
    assert printed.endswith("NOTES:\nshop 1 on 36 with cron jobs\n")
    yield "shop"
    helm("uninstall", "shop")


def listed(helm: Command, *arguments: str) -> list[tuple[str, str, str]]:
    found = json.loads(helm("list", *arguments, "-o", "json"))
    return [(entry["name"], entry["revision"], entry["status"]) for entry in found]


def history(helm: Command, release: str) -> list[tuple[int, str]]:
    return [(entry["revision"], entry["status"]) for entry in json.loads(helm("history", release, "-o", "json"))]


def container(kubectl: Kubectl, release: str) -> dict[str, Any]:
    found: dict[str, Any] = kubectl.get(f"deployment/{release}")["spec"]["template"]["spec"]["containers"][0]
    return found


def test_a_release_is_installed_waited_for_and_kept_in_a_secret(helm: Command, kubectl: Kubectl, shop: str) -> None:
    assert kubectl.get("deployment/shop")["status"]["readyReplicas"] == 1
    assert (shop, "1", "deployed") in listed(helm)
    secret = kubectl.get("secret/sh.helm.release.v1.shop.v1")
    assert secret["type"] == "helm.sh/release.v1"
    assert secret["metadata"]["labels"]["owner"] == "helm"
    release = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    assert (release["name"], release["info"]["status"]) == ("shop", "deployed")
    labels = kubectl.get("deployment/shop")["metadata"]["labels"]
    assert labels == {"app.kubernetes.io/managed-by": "Helm"}
    assert kubectl.get("configmap/shop-orders")["data"] == {"namespace": "default"}  # as `lookup` found it
    assert "already exists" not in helm("status", shop)
    assert "cannot re-use a name that is still in use" in helm.fails("install", shop, CHART)


def test_an_upgrade_merges_the_chart_with_what_was_changed_by_hand(helm: Command, kubectl: Kubectl, shop: str) -> None:
    kubectl("set", "env", "deployment/shop", "BY_HAND=yes")
    kubectl("label", "deployment/shop", "by-hand=yes")
    printed = helm("upgrade", shop, CHART, "--set", "image=shop:2,extra={two,three}")
    assert "STATUS: deployed\nREVISION: 2\n" in printed
    shipped = container(kubectl, shop)
    assert shipped["image"] == "shop:2"
    assert {entry["name"] for entry in shipped["env"]} == {"RELEASE", "BY_HAND"}
    assert kubectl.get("deployment/shop")["metadata"]["labels"]["by-hand"] == "yes"
    extra = kubectl.run("get", "configmaps", "one", "two", "three", "--ignore-not-found", "-o", "name").stdout
    assert extra.split() == ["configmap/two", "configmap/three"]
    helm("rollback", shop, "1")
    assert container(kubectl, shop)["image"] == "shop:1"
    assert kubectl("get", "configmap", "one", "-o", "name") == "configmap/one\n"
    assert history(helm, shop)[-3:] == [(1, "superseded"), (2, "superseded"), (3, "deployed")]


def test_an_upgrade_that_fails_is_rolled_back(helm: Command, kubectl: Kubectl, shop: str) -> None:
    before = int(history(helm, shop)[-1][0])
    command = ("upgrade", shop, CHART, "--set", "image=broken:1", "--atomic", "--timeout=6s")
    assert "has been rolled back due to atomic being set" in helm.fails(*command)
    assert container(kubectl, shop)["image"] == "shop:1"
    assert history(helm, shop)[-2:] == [(before + 1, "failed"), (before + 2, "deployed")]


def test_a_release_is_tested_by_a_pod(helm: Command, kubectl: Kubectl, shop: str) -> None:
    printed = helm("test", shop, "--timeout=60s")
    assert "TEST SUITE:     shop-probe" in printed
    assert "Phase:          Succeeded" in printed
    kubectl("delete", "pod", "shop-probe", "--ignore-not-found")


def test_what_another_made_is_not_taken_over(helm: Command, kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "foreign")
    complaint = helm.fails("install", "thief", CHART, "--set", "extra={foreign}")
    assert 'ConfigMap "foreign" in namespace "default" exists and cannot be imported' in complaint
    assert "NotFound" in kubectl.fails("get", "deployment", "thief")


def test_a_dry_run_and_a_template_are_checked_by_the_server(helm: Command, kubectl: Kubectl) -> None:
    printed = helm("install", "ghost", CHART, "--dry-run=server")
    assert 'namespace: "default"' in printed
    assert "NotFound" in kubectl.fails("get", "deployment", "ghost")
    assert listed(helm, "--all", "--filter=ghost") == []
    assert "kind: Deployment" in helm("template", "ghost", CHART, "--dry-run=server", "--validate")


def test_a_chart_that_the_schema_refuses_is_not_installed(helm: Command, tmp_path: Path) -> None:
    chart = tmp_path / "wrong"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: wrong\nversion: 1.0.0\n")
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "wrong"}, "data": {"a": ["not", "text"]}}
    (chart / "templates" / "map.yaml").write_text(json.dumps(wrong))
    assert "cannot be handled as a ConfigMap" in helm.fails("install", "first", str(chart))
    (chart / "templates" / "map.yaml").write_text('{"apiVersion": "example.com/v1", "kind": "Gadget"}')
    assert 'no matches for kind "Gadget" in version "example.com/v1"' in helm.fails("install", "second", str(chart))
    assert listed(helm, "--all", "--filter=first|second") == [("first", "1", "failed")]


def test_a_hook_is_waited_for_and_deleted_before_the_rest_is_made(helm: Command, kubectl: Kubectl) -> None:
    values = "migration.image=broken:1,migration.command=true"
    with helm.background("install", "mover", CHART, "--set", values, *WAIT) as installing:
        kubectl("wait", "job/mover-migration", "--for=create", "--timeout=60s")
        kubectl("wait", "job/mover-migration", "--for=jsonpath={.status.active}=1", "--timeout=60s")
        assert ("mover", "1", "pending-install") in listed(helm, "--all")
        assert "NotFound" in kubectl.fails("get", "deployment", "mover")
        pod = kubectl("get", "pods", "-l", "job-name=mover-migration", "-o", "name").strip()
        kubectl("set", "image", pod, "migration=migration:1")  # the kubelet can start it now, and it ends
        printed, _ = installing.communicate(timeout=60)
        assert "STATUS: deployed" in printed
    assert "NotFound" in kubectl.fails("get", "job", "mover-migration")
    assert kubectl.get("deployment/mover")["status"]["readyReplicas"] == 1


def test_a_hook_that_fails_fails_the_upgrade_until_another_succeeds(helm: Command, kubectl: Kubectl) -> None:
    upgrade = ("upgrade", "mover", CHART, *WAIT, "--set", "image=shop:2,migration.image=migration:2")
    complaint = helm.fails(*upgrade, "--set", "migration.command=false")
    assert "pre-upgrade hooks failed: 1 error occurred" in complaint
    assert "job mover-migration failed: BackoffLimitExceeded" in complaint
    assert container(kubectl, "mover")["image"] == "shop:1"
    assert kubectl.get("job/mover-migration")["status"]["failed"] == 1  # it is left to be looked at
    assert "STATUS: deployed" in helm(*upgrade, "--set", "migration.command=true")  # after it made room
    assert container(kubectl, "mover")["image"] == "shop:2"
    helm("uninstall", "mover")


def test_an_uninstall_takes_what_the_release_made_but_what_it_is_to_keep(helm: Command, kubectl: Kubectl) -> None:
    helm("install", "brief", CHART, "--set", "extra={brief-extra}")
    printed = helm("uninstall", "brief", "--keep-history", "--cascade=foreground", *WAIT)
    assert "[ConfigMap] brief-orders" in printed
    assert 'release "brief" uninstalled' in printed
    kinds = "deployments,replicasets,pods,services,configmaps"
    left = [name for name in kubectl("get", kinds, "-o", "name").split() if "/brief" in name]
    assert left == ["configmap/brief-orders"]
    assert ("brief", "1", "uninstalled") in listed(helm, "--uninstalled")
    helm("rollback", "brief", "1")
    kubectl("wait", "deployment/brief", "--for=condition=Available", "--timeout=60s")
    assert 'release "brief" uninstalled' in helm("uninstall", "brief")
    assert listed(helm, "--all", "--filter=brief") == []
    assert kubectl("get", "secrets", "-l", "owner=helm,name=brief", "-o", "name") == ""
