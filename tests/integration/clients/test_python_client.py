"""The official Python client: typed and dynamic calls, watches, informers, leader election, manifests."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client import ApiException
from kubernetes.informer import ADDED, DELETED, ERROR, MODIFIED, SharedInformer

from tests.integration.clients.commands import Kubectl
from tests.integration.clients.planes import Plane

_SECONDS = 60.0  # generous, since the machine may be busy


@pytest.fixture(scope="module")
def api(kubectl: Kubectl) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(config_file=str(kubectl.kubeconfig)) as api:
        yield api


@pytest.fixture(scope="module")
def core(api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


@pytest.fixture(scope="module")
def dynamic_client(api: client.ApiClient) -> dynamic.DynamicClient:
    return dynamic.DynamicClient(api)


def config_map(name: str, **data: str) -> client.V1ConfigMap:
    labels = {"app": name.rstrip("0123456789-")}
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels), data=data)


def test_an_object_is_created_read_changed_listed_and_deleted(core: client.CoreV1Api) -> None:
    made = core.create_namespaced_config_map("default", config_map("typed", colour="red"))
    assert (made.data, made.metadata.namespace) == ({"colour": "red"}, "default")
    made.data = {"colour": "blue"}
    replaced = core.replace_namespaced_config_map("typed", "default", made)
    assert replaced.metadata.uid == made.metadata.uid
    with pytest.raises(ApiException, match="the object has been modified") as stale:
        core.replace_namespaced_config_map("typed", "default", made)
    assert (stale.value.status, stale.value.reason) == (409, "Conflict")
    patched = core.patch_namespaced_config_map("typed", "default", {"data": {"shape": "round"}})
    assert patched.data == {"colour": "blue", "shape": "round"}
    listed = core.list_namespaced_config_map("default", label_selector="app=typed")
    assert [item.data for item in listed.items] == [patched.data]
    core.delete_namespaced_config_map("typed", "default")
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_config_map("typed", "default")
    assert (missing.value.status, missing.value.reason) == (404, "Not Found")


def test_a_long_list_is_read_page_by_page_at_one_version(core: client.CoreV1Api) -> None:
    for number in range(7):
        core.create_namespaced_config_map("default", config_map(f"paged-{number}"))
    names, token, versions = [], None, set()
    while True:
        page = core.list_namespaced_config_map("default", label_selector="app=paged", limit=3, _continue=token)
        names += [item.metadata.name for item in page.items]
        versions.add(page.metadata.resource_version)
        token = page.metadata._continue
        if not token:
            break
        core.delete_namespaced_config_map(names[-1], "default")
    assert names == [f"paged-{number}" for number in range(7)]
    assert len(versions) == 1
    core.delete_collection_namespaced_config_map("default", label_selector="app=paged")
    assert core.list_namespaced_config_map("default", label_selector="app=paged").items == []


def test_workloads_are_created_scaled_and_patched_by_their_subresources(api: client.ApiClient) -> None:
    apps = client.AppsV1Api(api)
    container = client.V1Container(name="x", image="x:1", resources=client.V1ResourceRequirements(limits={"cpu": "1"}))
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": "scaled"}), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(
        replicas=1, selector=client.V1LabelSelector(match_labels={"app": "scaled"}), template=template
    )
    apps.create_namespaced_deployment(
        "default", client.V1Deployment(metadata=client.V1ObjectMeta(name="scaled"), spec=spec)
    )
    scaled = False
    while not scaled:  # the controller writes the status beside it, so what was read may be old by now
        scale = apps.read_namespaced_deployment_scale("scaled", "default")
        scale.spec.replicas = 2
        try:
            apps.replace_namespaced_deployment_scale("scaled", "default", scale)
            scaled = True
        except client.ApiException as error:
            if error.status != 409:
                raise
    for event in watch.Watch().stream(
        apps.list_namespaced_deployment, "default", field_selector="metadata.name=scaled", timeout_seconds=60
    ):
        if event["object"].status.ready_replicas == 2:
            break
    assert apps.read_namespaced_deployment_status("scaled", "default").status.ready_replicas == 2
    apps.delete_namespaced_deployment("scaled", "default")


def test_the_dynamic_client_finds_kinds_and_works_on_them(dynamic_client: dynamic.DynamicClient) -> None:
    deployments = dynamic_client.resources.get(api_version="apps/v1", kind="Deployment")
    assert deployments.subresources.keys() >= {"scale", "status"}
    maps = dynamic_client.resources.get(api_version="v1", kind="ConfigMap")
    body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "dynamic"}, "data": {"a": "b"}}
    assert maps.create(body=body, namespace="default").data.a == "b"
    merge = "application/merge-patch+json"
    changed = maps.patch(name="dynamic", namespace="default", body={"data": {"a": None, "c": "d"}}, content_type=merge)
    assert changed.data.to_dict() == {"c": "d"}
    assert [item.metadata.name for item in maps.get(namespace="default", field_selector="metadata.name=dynamic").items]
    for event in maps.watch(namespace="default", name="dynamic", timeout=30):
        assert (event["type"], event["object"].data.c) == ("ADDED", "d")
        break
    assert maps.delete(name="dynamic", namespace="default").status == "Success"
    with pytest.raises(dynamic.exceptions.NotFoundError):
        maps.get(name="dynamic", namespace="default")
    with pytest.raises(dynamic.exceptions.ResourceNotFoundError):
        dynamic_client.resources.get(api_version="example.com/v1", kind="Gadget")


def test_a_manifest_of_many_kinds_is_created_at_once(api: client.ApiClient, tmp_path: Path) -> None:
    manifest = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "made"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}},
        {
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
            "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {
                "spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]},
            }}}},
        },
        {
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "closed"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
        },
    ]  # fmt: skip
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(manifest))
    made = utils.create_from_yaml(api, str(path), namespace="made")
    assert [entry[0].kind for entry in made] == ["Namespace", "Service", "CronJob", "NetworkPolicy"]
    with pytest.raises(utils.FailToCreateError) as refused:
        utils.create_from_yaml(api, str(path), namespace="made")
    assert {error.status for error in refused.value.api_exceptions} == {409}
    client.CoreV1Api(api).delete_namespace("made")


def test_a_watch_begins_with_what_is_there_as_a_stream(core: client.CoreV1Api) -> None:
    for number in range(3):
        core.create_namespaced_config_map("default", config_map(f"streamed-{number}"))
    seen: list[Any] = []
    stream = watch.Watch().stream(
        core.list_namespaced_config_map, "default", label_selector="app=streamed", allow_watch_bookmarks=True,
        send_initial_events=True, resource_version_match="NotOlderThan", timeout_seconds=30,
    )  # fmt: skip
    for event in stream:
        seen.append((event["type"], event["raw_object"]["metadata"].get("name")))
        if event["type"] == "BOOKMARK":
            assert event["raw_object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
            break
    assert seen[:-1] == [("ADDED", f"streamed-{number}") for number in range(3)]


def test_an_informer_misses_nothing_when_the_server_is_restarted(plane: Plane, core: client.CoreV1Api) -> None:
    changes: list[tuple[str, str, str]] = []
    told = threading.Condition()
    # Its stop() misses a watch that is just being opened, and then waits until that ends: hence the period, in seconds.
    list_maps = core.list_namespaced_config_map
    informer = SharedInformer(list_maps, namespace="default", label_selector="app=kept", resync_period=10)

    def note(kind: str, obj: client.V1ConfigMap) -> None:
        with told:
            changes.append((kind, obj.metadata.name, (obj.data or {}).get("turn", "")))
            told.notify()

    def expect(*wanted: tuple[str, str, str]) -> None:
        with told:
            assert told.wait_for(lambda: set(wanted) <= set(changes), _SECONDS), changes

    for kind in (ADDED, MODIFIED, DELETED):
        informer.add_event_handler(kind, lambda obj, kind=kind: note(kind, obj))
    broke = threading.Event()
    informer.add_event_handler(ERROR, lambda _: broke.set())
    core.create_namespaced_config_map("default", config_map("kept-1", turn="1"))
    informer.start()
    try:
        expect((ADDED, "kept-1", "1"))
        core.create_namespaced_config_map("default", config_map("kept-2", turn="2"))
        expect((ADDED, "kept-2", "2"))
        plane.stop_server()
        assert broke.wait(_SECONDS)
        plane.start_server()
        core.patch_namespaced_config_map("kept-1", "default", {"data": {"turn": "3"}})
        core.delete_namespaced_config_map("kept-2", "default")
        expect((MODIFIED, "kept-1", "3"), (DELETED, "kept-2", "2"))
        assert [obj.metadata.name for obj in informer.cache.list()] == ["kept-1"]
    finally:
        informer.stop()


@contextmanager
def candidate(kubectl: Kubectl, lock: str, identity: str) -> Iterator["subprocess.Popen[str]"]:
    script = str(Path(__file__).with_name("candidate.py"))
    command = [sys.executable, script, str(kubectl.kubeconfig), lock, identity]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_one_of_two_candidates_leads_and_the_other_follows_it(kubectl: Kubectl) -> None:
    with candidate(kubectl, "office", "first") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "first leads\n"
        with candidate(kubectl, "office", "second") as second:
            assert second.stdout is not None
            kubectl("wait", "lease/office", "--for=jsonpath={.spec.holderIdentity}=first")
            first.kill()
            assert second.stdout.readline() == "second leads\n"
            assert kubectl.get("lease/office")["spec"]["holderIdentity"] == "second"


def test_many_writers_lose_no_update(core: client.CoreV1Api) -> None:
    core.create_namespaced_config_map("default", config_map("counter", value="0"))

    def count() -> None:
        for _ in range(5):
            while True:
                current = core.read_namespaced_config_map("counter", "default")
                current.data["value"] = str(int(current.data["value"]) + 1)
                try:
                    core.replace_namespaced_config_map("counter", "default", current)
                    break
                except ApiException as error:
                    if error.status != 409:
                        raise

    writers = [threading.Thread(target=count) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(_SECONDS)
    assert core.read_namespaced_config_map("counter", "default").data == {"value": "20"}
