"""kube-root-ca.crt of each namespace on the real server: nobody sees that it isn't stored."""

from typing import Any

from tests.integration.api.servers import User

MAPS = "/api/v1/namespaces/web/configmaps"
ROOT = f"{MAPS}/kube-root-ca.crt"
MERGE = {"Content-Type": "application/merge-patch+json"}


async def found(admin: User) -> dict[str, Any]:
    answer = await admin("GET", ROOT)
    assert answer.status == 200
    return dict(answer.json)


async def test_it_is_read_changed_watched_and_made_again_as_any_other(admin: User) -> None:
    namespace = (await admin("POST", "/api/v1/namespaces", {"metadata": {"name": "web"}})).json["metadata"]
    first = await found(admin)
    assert first["metadata"]["resourceVersion"] == namespace["resourceVersion"]
    assert first["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")
    assert (await admin("POST", MAPS, {"metadata": {"name": "kube-root-ca.crt"}})).status == 409
    assert (await admin("POST", MAPS, {"metadata": {"name": "kube-root-ca.crt"}}, dryRun="All")).status == 409
    async with admin.watch(MAPS, resourceVersion=first["metadata"]["resourceVersion"]) as watch:
        stale = {"metadata": {"resourceVersion": "1"}}
        assert (await admin("PATCH", ROOT, stale, headers=MERGE)).status == 409
        forged = {"metadata": {"labels": {"a": "b"}}, "data": {"ca.crt": "forged"}}
        assert (await admin("PATCH", ROOT, forged, headers=MERGE)).status == 200
        assert await watch.names(1) == [("MODIFIED", "kube-root-ca.crt")]
        changed = await found(admin)
        assert changed == {
            **first, "metadata": {**first["metadata"], "labels": {"a": "b"},
                                  "resourceVersion": changed["metadata"]["resourceVersion"]}
        }  # fmt: skip
        deleted = await admin("DELETE", ROOT)
        assert (deleted.json["status"], deleted.json["details"]["uid"]) == ("Success", first["metadata"]["uid"])
        again = await found(admin)
        assert again["metadata"]["uid"] != first["metadata"]["uid"]
        assert "labels" not in again["metadata"]
        assert await watch.names(1) == [("MODIFIED", "kube-root-ca.crt")]
        assert (await admin("DELETE", ROOT)).json["details"]["uid"] == again["metadata"]["uid"]
        assert await watch.names(1) == [("MODIFIED", "kube-root-ca.crt")]


async def test_it_goes_as_soon_as_its_namespace_ends(admin: User) -> None:
    made = (await admin("POST", "/api/v1/namespaces", {"metadata": {"name": "web"}})).json
    async with admin.watch(MAPS, resourceVersion=made["metadata"]["resourceVersion"]) as watch:
        await admin("DELETE", "/api/v1/namespaces/web")
        assert await watch.names(1) == [("DELETED", "kube-root-ca.crt")]
    assert (await admin("GET", MAPS)).json["items"] == []
    assert (await admin("GET", ROOT)).status == 404
    assert (await admin("DELETE", ROOT)).status == 404
