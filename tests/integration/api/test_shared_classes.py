"""Classes of storage lie in `system` and show in every tenant, beside its own."""

from typing import Any

import pytest

from tests.integration.api.servers import User

CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"


def storage_class(name: str, provisioner: str = "p.example.com", **annotations: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": annotations}, "provisioner": provisioner}


async def names(user: User, path: str = CLASSES, **query: str) -> list[str]:
    return [each["metadata"]["name"] for each in (await user("GET", path, **query)).json["items"]]


async def test_a_tenant_sees_the_provider_s_classes_and_changes_none(admin: User) -> None:
    await admin("POST", CLASSES, storage_class("gold"))
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        assert (await acme("POST", CLASSES, storage_class("mine"))).status == 201
        assert await names(acme) == ["gold", "mine"]
        assert await names(globex) == ["gold"]
        found = await acme("GET", f"{CLASSES}/gold")
        assert found.json["provisioner"] == "p.example.com"
        assert (await acme("POST", CLASSES, storage_class("gold"))).status == 409
        for method, body in (("PUT", found.json), ("PATCH", {"metadata": {"labels": {"a": "b"}}}), ("DELETE", None)):
            headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else None
            refused = await acme(method, f"{CLASSES}/gold", body, headers=headers)
            assert refused.status == 403, refused.body
            assert "the provider's" in refused.json["message"]
        assert (await acme("DELETE", f"{CLASSES}/mine")).status == 200
        assert (await acme("DELETE", CLASSES)).status == 200, "a collection is the tenant's own"
        assert await names(acme) == ["gold"]


@pytest.mark.parametrize("path", [CLASSES, "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses"])
async def test_pages_and_selectors_go_over_both(admin: User, path: str) -> None:
    body = {"provisioner": "p", "driver": "d.example.com", "deletionPolicy": "Delete"}
    await admin("POST", path, {"metadata": {"name": "b", "labels": {"tier": "x"}}, **body})
    async with await admin.tenant("acme") as acme:
        for name in ("a", "c"):
            assert (await acme("POST", path, {"metadata": {"name": name}, **body})).status == 201
        page = (await acme("GET", path, limit="2")).json
        assert [each["metadata"]["name"] for each in page["items"]] == ["a", "b"]
        rest = (await acme("GET", path, limit="2", **{"continue": page["metadata"]["continue"]})).json
        assert [each["metadata"]["name"] for each in rest["items"]] == ["c"]
        assert await names(acme, path, labelSelector="tier=x") == ["b"]


async def test_a_tenant_s_own_class_hides_a_later_one_of_the_provider_until_it_goes(admin: User) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex") as globex:
        made = await acme("POST", CLASSES, storage_class("fast", "own.example.com"))
        async with (
            acme.watch(CLASSES, resourceVersion=made.revision) as seen,
            globex.watch(CLASSES, resourceVersion=made.revision) as elsewhere,
        ):
            await admin("POST", CLASSES, storage_class("fast", "theirs.example.com"))
            await admin("POST", CLASSES, storage_class("other"))
            assert await seen.names(1) == [("ADDED", "other")]
            assert await elsewhere.names(2) == [("ADDED", "fast"), ("ADDED", "other")]
            assert (await acme("GET", f"{CLASSES}/fast")).json["provisioner"] == "own.example.com"
            assert (await acme("DELETE", f"{CLASSES}/fast")).status == 200
            shown = await seen.next()
            assert (shown["type"], shown["object"]["provisioner"]) == ("MODIFIED", "theirs.example.com")
            await admin("DELETE", f"{CLASSES}/fast")
            assert await seen.names(1) == [("DELETED", "fast")]
        assert await names(acme) == ["other"]


async def test_a_claim_is_given_the_provider_s_default_class(admin: User) -> None:
    await admin("POST", CLASSES, storage_class("gold", **{"storageclass.kubernetes.io/is-default-class": "true"}))
    claim = {
        "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    async with await admin.tenant("acme") as acme:
        made = await acme("POST", CLAIMS, claim)
        assert made.json["spec"]["storageClassName"] == "gold"


async def test_what_is_attached_where_is_the_provider_s_to_write(admin: User) -> None:
    attachment = {
        "metadata": {"name": "a"},
        "spec": {"attacher": "d.example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}},
    }
    async with await admin.tenant("acme") as acme:
        refused = await acme("POST", "/apis/storage.k8s.io/v1/volumeattachments", attachment)
        assert refused.status == 403
        assert await names(acme, "/apis/storage.k8s.io/v1/volumeattachments") == []


async def test_a_claim_grows_as_far_as_its_class_and_the_tenants_quota_let_it(admin: User) -> None:
    await admin("POST", CLASSES, {**storage_class("gold"), "allowVolumeExpansion": True})
    tenant = {"metadata": {"name": "acme"}, "spec": {"quota": {"storage": "3Gi", "volumes": "1"}}}
    assert (await admin("POST", "/apis/hypernetes.io/v1/tenants", tenant)).status == 201
    merge = {"Content-Type": "application/merge-patch+json"}

    def sized(size: str, **more: Any) -> dict[str, Any]:
        return {"spec": {"resources": {"requests": {"storage": size}}, **more}}

    async with await admin.administrator("acme") as acme:
        claim = {"metadata": {"name": "c"}, **sized("1Gi", accessModes=["ReadWriteOnce"], storageClassName="gold")}
        assert (await acme("POST", CLAIMS, claim)).status == 201
        second = await acme("POST", CLAIMS, {**claim, "metadata": {"name": "d"}})
        assert (second.status, "volumes" in second.json["message"]) == (403, True), second.body
        early = await acme("PATCH", f"{CLAIMS}/c", sized("2Gi"), headers=merge)
        assert early.status in (403, 422), early.body
        bound = {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
        done = await admin("PATCH", f"/tenants/acme{CLAIMS}/c/status", bound, headers=merge)
        assert done.status == 200, done.body
        assert (await acme("PATCH", f"{CLAIMS}/c", sized("2Gi"), headers=merge)).status == 200
        over = await acme("PATCH", f"{CLAIMS}/c", sized("4Gi"), headers=merge)
        assert (over.status, "storage" in over.json["message"]) == (403, True), over.body
        smaller = await acme("PATCH", f"{CLAIMS}/c", sized("512Mi"), headers=merge)
        assert smaller.status == 422, smaller.body
