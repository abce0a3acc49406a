"""`/tenants/*/metadata`: all kinds and tenants in one list and watch, for the provider alone."""

from typing import Any

from tests.integration.api.servers import User

PATH = "/tenants/*/metadata"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def names(items: list[dict[str, Any]], kind: str) -> set[tuple[str, str]]:
    return {
        (item["metadata"]["annotations"]["hypernetes.io/tenant"], item["metadata"]["name"])
        for item in items
        if item["kind"] == kind
    }


async def test_all_kinds_and_tenants_come_in_one_list_and_what_changes_in_one_watch(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        for path in (PATH, "/tenants/acme/metadata", "/metadata"):
            assert (await acme("GET", path)).status == 403, path
    body = {"metadata": {"name": "a", "labels": {"x": "y"}, "finalizers": ["example.com/one"]}, "data": {"k": "v"}}
    await admin("POST", f"/tenants/acme{CONFIG_MAPS}", body)
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "default"}, "reason": "Told"}
    await admin("POST", "/tenants/acme/api/v1/namespaces/default/events", event)
    pages: list[dict[str, Any]] = []
    page = (await admin("GET", PATH, limit="7")).json
    while True:
        pages += page["items"]
        if not (token := page["metadata"].get("continue")):
            break
        page = (await admin("GET", PATH, **{"limit": "7", "continue": token})).json
    whole = (await admin("GET", PATH)).json
    assert whole["items"] == pages
    assert {("acme", "a"), ("system", "kube-root-ca.crt")} <= names(pages, "ConfigMap")
    assert ("acme", "default") in names(pages, "Namespace")
    assert names(pages, "Event") == set()
    (shown,) = (item for item in pages if item["metadata"]["name"] == "a")
    assert (shown["apiVersion"], shown["resource"], set(shown)) == (
        "v1", "configmaps", {"apiVersion", "kind", "resource", "metadata"},
    )  # fmt: skip
    assert shown["metadata"]["finalizers"] == ["example.com/one"]
    assert "labels" not in shown["metadata"]

    revision = whole["metadata"]["resourceVersion"]
    await admin("POST", f"/tenants/acme{CONFIG_MAPS}", {"metadata": {"name": "b"}})
    await admin("DELETE", f"/tenants/acme{CONFIG_MAPS}/a")
    await admin("POST", CONFIG_MAPS, {"metadata": {"name": "c"}})
    async with admin.watch(PATH, resourceVersion=revision) as watch:
        told = [await watch.next() for _ in range(3)]
    assert [(each["type"], each["object"]["metadata"]["name"]) for each in told] == [
        ("ADDED", "b"), ("MODIFIED", "a"), ("ADDED", "c"),
    ]  # fmt: skip
    assert "deletionTimestamp" in told[1]["object"]["metadata"]


async def test_a_service_is_told_of_although_its_address_is_written_with_it(admin: User) -> None:
    before = (await admin("GET", PATH)).json
    assert names(before["items"], "IPAddress") == set()
    services = "/api/v1/namespaces/default/services"
    async with admin.watch(PATH, resourceVersion=before["metadata"]["resourceVersion"]) as watch:
        await admin("POST", services, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
        await admin("DELETE", f"{services}/s")
        await admin("POST", CONFIG_MAPS, {"metadata": {"name": "after"}})
        assert await watch.names(3) == [("ADDED", "s"), ("DELETED", "s"), ("ADDED", "after")]


async def test_what_it_cannot_make_sense_of_is_refused(admin: User) -> None:
    for query in ({"limit": "some"}, {"continue": "x"}, {"watch": "true"}):
        assert (await admin("GET", PATH, **query)).status == 400, query
    assert (await admin("POST", PATH, {})).status in (404, 405)
    assert (await admin("GET", "/tenants/system/metadata")).status == 404
