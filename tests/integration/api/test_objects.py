"""Create, read, change and delete, as a client sees it."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hypernetes.api import scheme
from hypernetes.pki import client_context
from tests.integration.api.servers import Answer, User

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE = {"Content-Type": "application/merge-patch+json"}


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": "busybox"}]
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": containers, **spec},
    }  # fmt: skip


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec},
    }  # fmt: skip


def deployment(name: str, replicas: int = 2) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }  # fmt: skip


async def test_what_is_created_is_read_back_as_it_was_answered(admin: User) -> None:
    made = await admin("POST", CONFIG_MAPS, config_map("a", x="y"))
    read = await admin("GET", f"{CONFIG_MAPS}/a")
    assert (made.status, read.status) == (201, 200)
    assert made.json == read.json
    assert read.json["data"] == {"x": "y"}
    assert read.json["metadata"]["uid"]


async def test_a_name_is_taken_once(admin: User) -> None:
    await admin("POST", CONFIG_MAPS, config_map("a"))
    again = await admin("POST", CONFIG_MAPS, config_map("a"))
    assert (again.status, again.json["reason"]) == (409, "AlreadyExists")
    assert again.json["details"] == {"name": "a", "kind": "configmaps"}


async def test_generated_names_differ(admin: User) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "web-"}}
    first, second = await admin("POST", CONFIG_MAPS, body), await admin("POST", CONFIG_MAPS, body)
    assert first.name.startswith("web-")
    assert len(first.name) == 9
    assert first.name != second.name


async def test_a_stale_update_conflicts_and_an_unconditional_one_wins(admin: User) -> None:
    made = (await admin("POST", CONFIG_MAPS, config_map("a", x="1"))).json
    await admin("PUT", f"{CONFIG_MAPS}/a", {**made, "data": {"x": "2"}})
    stale = await admin("PUT", f"{CONFIG_MAPS}/a", {**made, "data": {"x": "3"}})
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    free = await admin("PUT", f"{CONFIG_MAPS}/a", config_map("a", x="4"))
    assert free.json["data"] == {"x": "4"}
    assert free.json["metadata"]["uid"] == made["metadata"]["uid"]


async def test_an_update_that_changes_nothing_takes_no_revision(admin: User) -> None:
    made = await admin("POST", CONFIG_MAPS, config_map("a", x="1"))
    same = await admin("PUT", f"{CONFIG_MAPS}/a", made.json)
    assert same.revision == made.revision


@pytest.mark.parametrize("size", [1, 10_000])  # large patches are applied ahead of the write
async def test_concurrent_patches_all_count(admin: User, size: int) -> None:
    await admin("POST", CONFIG_MAPS, config_map("a"))
    answers = await asyncio.gather(
        *(
            admin("PATCH", f"{CONFIG_MAPS}/a", {"data": {f"k{number}": "v" * size}}, headers=MERGE)
            for number in range(15)
        )
    )
    assert {answer.status for answer in answers} == {200}
    assert len((await admin("GET", f"{CONFIG_MAPS}/a")).json["data"]) == 15


async def test_a_strategic_patch_merges_containers_by_name(admin: User) -> None:
    await admin("POST", DEPLOYMENTS, deployment("web"))
    body = {"spec": {"template": {"spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}]}]}}}}
    strategic = {"Content-Type": "application/strategic-merge-patch+json"}
    patched = await admin("PATCH", f"{DEPLOYMENTS}/web", body, headers=strategic)
    (container,) = patched.json["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["env"]) == ("nginx", [{"name": "A", "value": "1"}])
    assert patched.json["metadata"]["generation"] == 2


async def test_status_and_spec_are_written_apart(admin: User) -> None:
    made = (await admin("POST", DEPLOYMENTS, {**deployment("web"), "status": {"replicas": 9}})).json
    assert "replicas" not in made["status"]
    made["status"], made["spec"]["replicas"] = {"replicas": 2}, 7
    status = (await admin("PUT", f"{DEPLOYMENTS}/web/status", made)).json
    assert (status["status"]["replicas"], status["spec"]["replicas"]) == (2, 2)
    assert status["metadata"]["generation"] == 1
    status["status"], status["spec"]["replicas"] = {}, 7
    spec = (await admin("PUT", f"{DEPLOYMENTS}/web", status)).json
    assert (spec["status"]["replicas"], spec["spec"]["replicas"]) == (2, 7)
    assert spec["metadata"]["generation"] == 2


async def test_a_scale_changes_the_replicas_and_nothing_else(admin: User) -> None:
    await admin("POST", DEPLOYMENTS, deployment("web"))
    scale = (await admin("GET", f"{DEPLOYMENTS}/web/scale")).json
    assert scale["status"]["selector"] == "app=web"
    scale["spec"]["replicas"] = 5
    assert (await admin("PUT", f"{DEPLOYMENTS}/web/scale", scale)).json["spec"] == {"replicas": 5}
    assert (await admin("GET", f"{DEPLOYMENTS}/web")).json["spec"]["replicas"] == 5


async def test_a_pod_is_completed_and_bound_once(admin: User) -> None:
    made = (await admin("POST", PODS, pod("p"))).json
    assert made["spec"]["serviceAccountName"] == "default"
    (volume,) = made["spec"]["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert made["spec"]["containers"][0]["volumeMounts"][0]["name"] == volume["name"]
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n1"}}
    assert (await admin("POST", f"{PODS}/p/binding", binding)).status == 201
    assert (await admin("POST", f"{PODS}/p/binding", binding)).status == 409
    bound = (await admin("GET", f"{PODS}/p")).json
    assert bound["spec"]["nodeName"] == "n1"
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"


async def test_a_pod_that_nobody_runs_goes_at_once_and_a_running_one_gracefully(admin: User) -> None:
    await admin("POST", PODS, pod("idle"))
    assert (await admin("DELETE", f"{PODS}/idle")).status == 200
    assert (await admin("GET", f"{PODS}/idle")).status == 404
    await admin("POST", PODS, pod("busy", nodeName="n1"))
    ending = (await admin("DELETE", f"{PODS}/busy")).json["metadata"]
    assert ending["deletionGracePeriodSeconds"] == 30
    assert (await admin("GET", f"{PODS}/busy")).json["metadata"]["deletionTimestamp"] == ending["deletionTimestamp"]
    assert (await admin("DELETE", f"{PODS}/busy", {"gracePeriodSeconds": 0})).status == 200
    assert (await admin("GET", f"{PODS}/busy")).status == 404


async def test_an_object_stays_until_its_last_finalizer_is_gone(admin: User) -> None:
    body = config_map("a")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await admin("POST", CONFIG_MAPS, body)
    await admin("DELETE", f"{CONFIG_MAPS}/a")
    held = (await admin("GET", f"{CONFIG_MAPS}/a")).json
    assert "deletionTimestamp" in held["metadata"]
    freed = await admin("PATCH", f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": None}}, headers=MERGE)
    assert freed.revision == held["metadata"]["resourceVersion"]  # as upstream: the change itself wasn't written
    assert (await admin("GET", f"{CONFIG_MAPS}/a")).status == 404


async def test_a_precondition_that_does_not_hold_saves_the_object(admin: User) -> None:
    await admin("POST", CONFIG_MAPS, config_map("a"))
    refused = await admin("DELETE", f"{CONFIG_MAPS}/a", {"preconditions": {"uid": "other"}})
    assert refused.status == 409
    assert (await admin("GET", f"{CONFIG_MAPS}/a")).status == 200


async def test_a_dry_run_writes_nothing(admin: User) -> None:
    made = await admin("POST", CONFIG_MAPS, config_map("a"), dryRun="All")
    assert made.status == 201
    assert (await admin("GET", f"{CONFIG_MAPS}/a")).status == 404


async def test_a_cluster_address_has_one_owner_until_its_service_goes(admin: User) -> None:
    first = await admin("POST", SERVICES, service("one", clusterIP="10.254.0.77"))
    assert first.json["spec"]["clusterIPs"] == ["10.254.0.77"]
    second = await admin("POST", SERVICES, service("two", clusterIP="10.254.0.77"))
    assert (second.status, second.json["details"]["causes"][0]["field"]) == (422, "spec.clusterIPs")
    await admin("DELETE", f"{SERVICES}/one")
    assert (await admin("POST", SERVICES, service("two", clusterIP="10.254.0.77"))).status == 201


async def test_chosen_cluster_addresses_are_distinct(admin: User) -> None:
    answers = await asyncio.gather(*(admin("POST", SERVICES, service(f"s{number}")) for number in range(30)))
    chosen = {answer.json["spec"]["clusterIP"] for answer in answers}
    assert len(chosen) == 30
    assert not chosen & {"10.254.0.0", "10.254.0.1", "10.254.0.2", "10.254.255.255"}


def node_ports(answer: Answer) -> list[int]:
    return [port["nodePort"] for port in answer.json["spec"]["ports"] if "nodePort" in port]


async def test_a_node_port_has_one_owner_until_its_service_goes_or_needs_none(admin: User) -> None:
    asked = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}
    assert node_ports(await admin("POST", SERVICES, service("one", **asked))) == [30080]
    second = await admin("POST", SERVICES, service("two", **asked))
    assert (second.status, second.json["details"]["causes"][0]["field"]) == (422, "spec.ports[0].nodePort")
    await admin("POST", SERVICES, service("two"))
    second = await admin("PUT", f"{SERVICES}/two", service("two", **asked))
    assert (second.status, second.json["reason"]) == (422, "Invalid")
    await admin("PUT", f"{SERVICES}/one", service("one"))
    assert node_ports(await admin("PUT", f"{SERVICES}/two", service("two", **asked))) == [30080]
    await admin("DELETE", f"{SERVICES}/two")
    assert (await admin("POST", SERVICES, service("three", **asked))).status == 201
    outside = await admin("POST", SERVICES, service("four", type="NodePort", ports=[{"port": 80, "nodePort": 80}]))
    assert outside.status == 422


async def test_chosen_node_ports_are_distinct_and_stay(admin: User) -> None:
    ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2}, {"name": "c", "port": 1, "protocol": "UDP"}]
    answers = await asyncio.gather(
        *(admin("POST", SERVICES, service(f"s{number}", type="LoadBalancer", ports=ports)) for number in range(20))
    )
    chosen = [number for answer in answers for number in set(node_ports(answer))]
    assert len(chosen) == len(set(chosen)) == 40
    assert all(30000 <= number <= 32767 for number in chosen)
    first = answers[0]
    again = await admin("PUT", f"{SERVICES}/s0", service("s0", type="LoadBalancer", ports=[*ports[1:], ports[0]]))
    assert sorted(node_ports(again)) == sorted(node_ports(first))


async def test_two_tenants_use_the_same_node_port(admin: User) -> None:
    asked = service("one", type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    async with await admin.tenant("acme") as acme:
        assert (await admin("POST", SERVICES, asked)).status == 201
        assert (await acme("POST", SERVICES, asked)).status == 201


async def test_a_service_changes_its_type_and_gives_back_what_it_had(admin: User) -> None:
    made = (await admin("POST", SERVICES, service("one", clusterIP="10.254.0.77"))).json
    external = {"spec": {"type": "ExternalName", "externalName": "a.example.com"}}
    spec = (await admin("PATCH", f"{SERVICES}/one", external, headers=MERGE)).json["spec"]
    assert not spec.keys() & {"clusterIP", "clusterIPs", "ipFamilies", "internalTrafficPolicy"}
    assert (await admin("POST", SERVICES, service("two", clusterIP="10.254.0.77"))).status == 201
    back = (await admin("PUT", f"{SERVICES}/one", service("one"))).json["spec"]
    assert back["clusterIP"] not in ("", "None", made["spec"]["clusterIP"])
    headless = await admin("PATCH", f"{SERVICES}/one", {"spec": {"clusterIP": "None"}}, headers=MERGE)
    assert (headless.status, headless.json["details"]["causes"][0]["field"]) == (422, "spec.clusterIPs[0]")


async def test_a_namespace_ends_when_its_finalizer_goes_and_takes_nothing_new_until_then(admin: User) -> None:
    await admin("POST", "/api/v1/namespaces", {"metadata": {"name": "web"}})
    ending = (await admin("DELETE", "/api/v1/namespaces/web")).json
    assert ending["status"]["phase"] == "Terminating"
    refused = await admin("POST", "/api/v1/namespaces/web/configmaps", config_map("a"))
    assert (refused.status, refused.json["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    ending["spec"]["finalizers"] = []
    await admin("PUT", "/api/v1/namespaces/web/finalize", ending)
    assert (await admin("GET", "/api/v1/namespaces/web")).status == 404


async def test_a_service_account_token_opens_the_api_of_its_tenant(admin: User, tmp_path: Path) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts"

    async def opened(token: str, path: str) -> int:
        """The status of a request with the token and no certificate."""
        connector = aiohttp.TCPConnector(ssl=client_context(tmp_path / "pki" / "ca.crt"))
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(admin.url + path, headers=headers) as response,
        ):
            return response.status

    async with await admin.tenant("acme") as acme:
        assert (await acme("POST", path, {"metadata": {"name": "robot"}})).status == 201
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        made = await acme("POST", f"{path}/robot/token", body)
        assert made.status == 201
        token = made.json["status"]["token"]
        assert await opened(token, "/version") == 200
        assert await opened(token, "/tenants/acme/version") == 200
        assert await opened(token, "/tenants/system/version") == 403
        assert await opened(f"{token[:-8]}AAAAAAAA", "/version") == 401
        await acme("DELETE", f"{path}/robot")
        assert await opened(token, "/version") == 401


async def test_bad_requests_get_a_status_that_says_why(admin: User) -> None:
    async def refused(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        answer = await admin(
            method, path, body, headers={key.replace("_", "-"): value for key, value in headers.items()}
        )
        assert answer.json["kind"] == "Status"
        return answer.status, answer.json["reason"]

    assert await refused("GET", "/api/v1/namespaces/default/gadgets") == (404, "NotFound")
    assert await refused("GET", "/apis/none.example/v1/gadgets") == (404, "NotFound")
    assert await refused("POST", CONFIG_MAPS, b"{") == (400, "BadRequest")
    assert await refused("POST", CONFIG_MAPS, b"[1]") == (400, "BadRequest")
    assert await refused("POST", CONFIG_MAPS, {"kind": "Pod", "apiVersion": "v1"}) == (400, "BadRequest")
    assert await refused("POST", CONFIG_MAPS, b"a: [", Content_Type="application/yaml") == (400, "BadRequest")
    assert await refused("POST", CONFIG_MAPS, b"x", Content_Type="text/plain") == (415, "UnsupportedMediaType")
    assert await refused("POST", CONFIG_MAPS, config_map("No_Label")) == (422, "Invalid")
    assert await refused("POST", CONFIG_MAPS, b" " * (3 * 2**20 + 1)) == (413, "RequestEntityTooLarge")
    assert await refused("POST", "/api/v1/namespaces/none/configmaps", config_map("a")) == (404, "NotFound")
    assert await refused("PATCH", f"{CONFIG_MAPS}/a", {}, Content_Type="text/x") == (415, "UnsupportedMediaType")
    assert await refused("PATCH", f"{CONFIG_MAPS}/a", {}, Content_Type=MERGE["Content-Type"]) == (404, "NotFound")
    assert await refused("POST", f"{CONFIG_MAPS}/a", {}) == (405, "MethodNotAllowed")
    assert await refused("GET", CONFIG_MAPS, Accept="application/x-unknown") == (406, "NotAcceptable")
    assert await refused("PUT", f"{CONFIG_MAPS}/a", config_map("b")) == (400, "BadRequest")


async def test_unknown_fields_are_warned_of_or_refused(admin: User) -> None:
    body = {**config_map("a"), "datum": {}}
    warned = await admin("POST", CONFIG_MAPS, body, fieldValidation="Warn")
    assert (warned.status, warned.headers["Warning"]) == (201, '299 - "unknown field \\"datum\\""')
    strict = await admin("POST", CONFIG_MAPS, body, fieldValidation="Strict")
    assert strict.status == 400


async def test_yaml_goes_in_and_out(admin: User) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: 'yes'}\n"
    made = await admin("POST", CONFIG_MAPS, body, headers={"Content-Type": "application/yaml"})
    assert made.json["data"] == {"x": "yes"}
    read = await admin("GET", f"{CONFIG_MAPS}/a", headers={"Accept": "application/yaml"})
    assert b"name: a\n" in read.body


async def test_a_secret_keeps_plain_text_as_base64(admin: User) -> None:
    path = "/api/v1/namespaces/default/secrets"
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}}
    made = (await admin("POST", path, body)).json
    assert base64.b64decode(made["data"]["k"]) == b"v"
    assert "stringData" not in made


async def test_a_namespace_keeps_its_network_while_it_has_pods(admin: User) -> None:
    path = "/api/v1/namespaces/default"

    async def named(network: str | None) -> Answer:
        return await admin("PATCH", path, {"spec": {"network": network}}, headers=MERGE)

    assert (await named("backend")).json["spec"]["network"] == "backend"
    plain = {"metadata": {"name": "default"}}
    assert (await admin("PUT", path, plain)).json["spec"]["network"] == "backend"  # absent: unchanged
    await admin("POST", PODS, pod("p"))
    refused = await named("other")
    assert (refused.status, refused.json["details"]["causes"][0]["field"]) == (422, "spec.network")
    assert (await admin("PUT", path, plain)).status == 200
    await admin("DELETE", f"{PODS}/p")
    assert (await named("other")).json["spec"]["network"] == "other"


@pytest.mark.parametrize("sent", [{}, {"name": ""}, {"name": None, "generateName": ""}])
async def test_no_object_is_created_without_a_name(admin: User, sent: dict[str, Any]) -> None:
    for resource in scheme.served():
        if not {"create", "get"} <= set(resource.verbs):  # reviews and bindings are never kept
            continue
        if resource.name == "limitranges":  # are given a UUID for a name, as upstream
            continue
        answer = await admin("POST", resource.path(None, "default"), {"metadata": sent})
        assert (answer.status, answer.json["reason"]) == (422, "Invalid"), resource
        assert answer.json["details"]["causes"][0]["field"] == "metadata.name", resource


async def test_a_new_node_keeps_the_status_it_brings(admin: User) -> None:
    status = {"capacity": {"cpu": "4"}, "addresses": [{"type": "InternalIP", "address": "10.2.2.2"}]}
    made = (await admin("POST", "/api/v1/nodes", {"metadata": {"name": "n"}, "status": status})).json
    assert made["status"]["addresses"] == status["addresses"]
    assert made["status"]["allocatable"] == {"cpu": "4"}


async def test_the_generation_of_a_slice_counts_its_labels_and_not_its_annotations(admin: User) -> None:
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    made = await admin("POST", slices, {"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": []})
    assert made.json["metadata"]["generation"] == 1
    for field, generation in (("labels", 2), ("annotations", 2)):
        changed = await admin("PATCH", f"{slices}/s", {"metadata": {field: {"a": "b"}}}, headers=MERGE)
        assert changed.json["metadata"]["generation"] == generation


async def test_an_event_is_the_same_object_in_both_groups(admin: User) -> None:
    core, other = "/api/v1/namespaces/default/events", "/apis/events.k8s.io/v1/namespaces/default/events"
    revision = (await admin("GET", other)).revision
    body = {
        "metadata": {"name": "new"}, "eventTime": "2020-01-02T03:04:05.000006Z", "reportingController": "example.com/c",
        "reportingInstance": "i", "action": "A", "reason": "R", "type": "Normal", "note": "hello",
        "regarding": {"kind": "Pod", "name": "x", "namespace": "default"},
    }  # fmt: skip
    made = await admin("POST", other, body)
    assert (made.status, made.json["apiVersion"], made.json["note"]) == (201, "events.k8s.io/v1", "hello")
    old = {"metadata": {"name": "old"}, "involvedObject": {"kind": "Pod", "name": "y", "namespace": "default"}}
    assert (await admin("POST", core, {**old, "message": "hi"})).status == 201
    shown = (await admin("GET", f"{core}/new")).json
    assert (shown["apiVersion"], shown["message"], shown["metadata"]["uid"]) == (
        "v1", "hello", made.json["metadata"]["uid"],
    )  # fmt: skip
    for path, selector in ((core, "involvedObject.name=y"), (other, "regarding.name=y")):
        listed = (await admin("GET", path, fieldSelector=selector)).json["items"]
        assert [item["metadata"]["name"] for item in listed] == ["old"]
    assert (await admin("GET", other, fieldSelector="involvedObject.name=y")).status == 400
    assert (await admin("GET", core, fieldSelector="regarding.name=y")).status == 400
    async with admin.watch(other, resourceVersion=revision, fieldSelector="reportingController=example.com/c") as watch:
        event = await watch.next()
        assert (event["object"]["apiVersion"], event["object"]["note"]) == ("events.k8s.io/v1", "hello")
    patched = await admin("PATCH", f"{other}/old", {"note": "bye", "deprecatedCount": 2}, headers=MERGE)
    assert patched.status == 422  # through the newer form, only the series changes
    assert (await admin("PATCH", f"{core}/old", {"message": "bye"}, headers=MERGE)).json["message"] == "bye"
    series = {"count": 2, "lastObservedTime": "2020-01-02T03:05:06.000007Z"}
    patched = await admin("PATCH", f"{other}/new", {"series": series}, headers=MERGE)
    assert patched.json["series"] == series
    assert (await admin("GET", f"{core}/new")).json["series"] == series
    await admin("DELETE", f"{core}/new")
    assert (await admin("GET", f"{other}/new")).status == 404
