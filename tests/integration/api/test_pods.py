"""The ways into a pod that exists: each changes its own part, and counts what it changed."""

from typing import Any

from tests.integration.api.servers import Answer, User

PODS = "/api/v1/namespaces/default/pods"
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
RESOURCES = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": "busybox", "resources": RESOURCES}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


async def patched(admin: User, path: str, patch: dict[str, Any]) -> Answer:
    return await admin("PATCH", f"{PODS}/{path}", patch, headers=STRATEGIC)


def causes(answer: Answer) -> list[str]:
    return [cause["field"] for cause in answer.json["details"]["causes"]]


async def test_a_running_pod_gets_a_container_to_look_into_it(admin: User) -> None:
    await admin("POST", PODS, pod("p"))
    added = await patched(
        admin, "p/ephemeralcontainers",
        {"spec": {"ephemeralContainers": [{"name": "debug", "image": "tools", "targetContainerName": "main"}]}},
    )  # fmt: skip
    assert added.status == 200
    assert added.json["metadata"]["generation"] == 2
    (container,) = added.json["spec"]["ephemeralContainers"]
    assert container["imagePullPolicy"] == "Always"
    assert (await admin("GET", f"{PODS}/p/ephemeralcontainers")).json == added.json
    otherwise = await patched(admin, "p", {"spec": {"ephemeralContainers": [{"name": "other", "image": "tools"}]}})
    assert (otherwise.status, causes(otherwise)) == (422, ["spec"])


async def test_a_resize_changes_resources_and_nothing_else(admin: User) -> None:
    await admin("POST", PODS, pod("p"))
    main = {"name": "main", "image": "other", "resources": {"limits": {"cpu": "400m"}}}
    resized = await patched(admin, "p/resize", {"spec": {"containers": [main]}})
    assert resized.status == 200
    (container,) = resized.json["spec"]["containers"]
    assert container["image"] == "busybox"
    assert container["resources"]["limits"] == {"cpu": "400m", "memory": "128Mi"}
    assert resized.json["metadata"]["generation"] == 2
    refused = await patched(
        admin, "p", {"spec": {"containers": [{"name": "main", "resources": {"limits": {"cpu": "1"}}}]}}
    )
    assert (refused.status, causes(refused)) == (422, ["spec"])


async def test_a_resize_keeps_the_class_of_service(admin: User) -> None:
    await admin("POST", PODS, pod("p"))
    same = {"name": "main", "resources": {"requests": {"cpu": "200m", "memory": "128Mi"}}}
    refused = await patched(admin, "p/resize", {"spec": {"containers": [same]}})
    assert (refused.status, causes(refused)) == (422, ["spec"])


async def test_a_gated_pod_is_bound_once_its_gates_are_gone(admin: User) -> None:
    made = await admin("POST", PODS, pod("p", schedulingGates=[{"name": "example.com/wait"}]))
    assert [each["reason"] for each in made.json["status"]["conditions"]] == ["SchedulingGated"]
    binding = {
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p", "labels": {"zone": "a"}},
        "target": {"kind": "Node", "name": "n1"},
    }  # fmt: skip
    assert (await admin("POST", f"{PODS}/p/binding", binding)).status == 409
    assert (await patched(admin, "p", {"spec": {"schedulingGates": None}})).status == 200
    assert (await admin("POST", f"{PODS}/p/binding", binding)).status == 201
    bound = (await admin("GET", f"{PODS}/p")).json
    assert (bound["spec"]["nodeName"], bound["metadata"]["labels"]) == ("n1", {"zone": "a"})
    assert [(each["type"], each["status"]) for each in bound["status"]["conditions"]] == [("PodScheduled", "True")]


async def test_the_address_of_a_pod_is_the_first_of_its_addresses(admin: User) -> None:
    await admin("POST", PODS, pod("p"))
    told = await patched(admin, "p/status", {"status": {"podIP": "10.1.2.3"}})
    assert told.json["status"]["podIPs"] == [{"ip": "10.1.2.3"}]
    refused = await patched(admin, "p/status", {"status": {"podIP": "nowhere"}})
    assert (refused.status, causes(refused)) == (422, ["status.podIPs[0]"])


async def test_what_is_refused_warns_of_unknown_fields_all_the_same(admin: User) -> None:
    refused = await admin("POST", PODS, pod("p", nonsense=1, restartPolicy="Maybe"), fieldValidation="Warn")
    assert (refused.status, causes(refused)) == (422, ["spec.restartPolicy"])
    assert "spec.nonsense" in refused.headers["Warning"]
