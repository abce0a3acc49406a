"""Owners and dependents, endpoints, what namespaces have, quotas, roles that are made of others, what expires."""

import base64
from datetime import timedelta
from typing import Any

from hypernetes.api import times
from tests.integration.controllers.documented.running import Case, Json, workload


def owned_by(owner: Json, kind: str = "ConfigMap", **more: Any) -> Json:
    reference = {"apiVersion": "v1", "kind": kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
    return {"ownerReferences": [{**reference, **more}]}


async def dependents_go_with_their_owner(it: Case) -> None:
    owner = await it.create("configmaps", "owner")
    await it.create("secrets", "dependent", metadata=owned_by(owner))
    await it.create("secrets", "other")
    await it.delete("configmaps/owner")
    await it.gone("secrets/dependent")
    assert (await it.get("secrets/other"))["metadata"]["name"] == "other"


async def dependents_go_before_their_owner_if_asked(it: Case) -> None:
    owner = await it.create("configmaps", "owner")
    held = {**owned_by(owner, blockOwnerDeletion=True), "finalizers": ["example.com/hold"]}
    await it.create("secrets", "dependent", metadata=held)
    await it.delete("configmaps/owner", propagationPolicy="Foreground")

    async def both_end() -> bool:
        return "deletionTimestamp" in (await it.get("secrets/dependent"))["metadata"]

    await it.until(both_end)
    assert (await it.get("configmaps/owner"))["metadata"]["finalizers"] == ["foregroundDeletion"]
    await it.patch("secrets/dependent", {"metadata": {"finalizers": None}})
    await it.gone("configmaps/owner")


async def dependents_are_orphaned_if_asked(it: Case) -> None:
    owner = await it.create("configmaps", "owner")
    await it.create("secrets", "dependent", metadata=owned_by(owner))
    await it.delete("configmaps/owner", propagationPolicy="Orphan")
    await it.gone("configmaps/owner")
    assert "ownerReferences" not in (await it.get("secrets/dependent"))["metadata"]


async def an_owner_that_isnt_there_is_as_one_that_is_deleted(it: Case) -> None:
    ghost = {"metadata": {"name": "ghost", "uid": "00000000-0000-4000-8000-000000000000"}}
    await it.create("secrets", "dependent", metadata=owned_by(ghost))
    await it.gone("secrets/dependent")


async def an_owner_in_another_namespace_is_none_and_is_told(it: Case) -> None:
    elsewhere = Case(it.client, f"{it.namespace}-2")
    await it.create("namespaces", elsewhere.namespace)
    owner = await elsewhere.create("configmaps", "owner")
    await it.create("secrets", "dependent", metadata=owned_by(owner))

    async def told() -> Any:
        return [each for each in await it.list("events") if each["reason"] == "OwnerRefInvalidNamespace"]

    (event,) = await it.until(told)
    assert event["involvedObject"]["name"] == "dependent"


async def owners_in_a_circle_can_be_deleted(it: Case) -> None:
    first = await it.create("configmaps", "first")
    second = await it.create("configmaps", "second", metadata=owned_by(first, blockOwnerDeletion=True))
    await it.patch("configmaps/first", {"metadata": owned_by(second, blockOwnerDeletion=True)})
    await it.delete("configmaps/first", propagationPolicy="Foreground")
    await it.gone("configmaps/first")
    await it.gone("configmaps/second")


async def endpoints_follow_pods_and_their_readiness(it: Case) -> None:
    port = {"name": "http", "port": 80, "targetPort": 8080}
    selector = {"selector": {"app": "web"}, "ports": [port]}
    await it.create("services", "web", selector)
    await it.create("services", "all", {**selector, "publishNotReadyAddresses": True, "clusterIP": "None"})
    await it.create("deployments", "web", workload("web", 2, ready=False))

    async def slices(service: str, ready: bool, count: int) -> bool:
        found = await it.list("endpointslices", **{"kubernetes.io/service-name": service})
        endpoints = [each for entry in found for each in entry["endpoints"] or ()]
        return [each["conditions"]["ready"] for each in endpoints] == [ready] * count

    await it.until(lambda: slices("web", False, 2))
    await it.until(lambda: slices("all", True, 2))
    (subset,) = (await it.get("endpoints/web"))["subsets"]
    assert ("addresses" in subset, len(subset["notReadyAddresses"])) == (False, 2)
    await it.patch("deployments/web", {"spec": {"replicas": 0}})
    await it.until(lambda: slices("web", False, 0))


async def endpoints_that_people_write_are_mirrored(it: Case) -> None:
    await it.create("services", "outside", {"ports": [{"port": 80}]})
    subset = {"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 80}]}
    await it.create("endpoints", "outside", subsets=[subset])

    async def mirrored() -> Any:
        return await it.list("endpointslices", **{"kubernetes.io/service-name": "outside"})

    (found,) = await it.until(mirrored)
    assert found["endpoints"][0]["addresses"] == ["192.0.2.7"]
    managed = found["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
    assert managed == "endpointslicemirroring-controller.k8s.io"


async def a_namespace_gets_its_account_back_and_has_the_authority(it: Case) -> None:
    before = (await it.until(lambda: it.get("serviceaccounts/default")))["metadata"]["uid"]
    await it.delete("serviceaccounts/default")

    async def another() -> bool:
        found: str = (await it.get("serviceaccounts/default"))["metadata"]["uid"]
        return found != before

    await it.until(another)
    assert "BEGIN CERTIFICATE" in (await it.get("configmaps/kube-root-ca.crt"))["data"]["ca.crt"]


async def a_namespace_ends_with_all_that_is_in_it(it: Case) -> None:
    inner = Case(it.client, f"{it.namespace}-2")
    await it.create("namespaces", inner.namespace)
    await inner.create("configmaps", "held", metadata={"finalizers": ["example.com/hold"]})
    await inner.create("secrets", "free")
    await it.delete(f"namespaces/{inner.namespace}")
    told = await it.condition(f"namespaces/{inner.namespace}", "NamespaceFinalizersRemaining", "True")
    assert "example.com/hold in 1 resource instances" in told["message"]
    await inner.gone("secrets/free")
    assert await inner.code(inner.create("secrets", "late")) == 403
    await inner.patch("configmaps/held", {"metadata": {"finalizers": None}})
    await it.gone(f"namespaces/{inner.namespace}")


async def a_quota_tells_what_is_used(it: Case) -> None:
    await it.create("configmaps", "before")
    await it.create("resourcequotas", "some", {"hard": {"count/configmaps": "3", "pods": "2"}})

    async def used(count: str) -> bool:
        status = (await it.get("resourcequotas/some")).get("status", {})
        return bool(status.get("used", {}).get("count/configmaps") == count)

    await it.until(lambda: used("2"))  # with the namespace's own
    await it.create("configmaps", "after")
    assert await it.code(it.create("configmaps", "surplus")) == 403
    await it.delete("configmaps/after")
    await it.until(lambda: used("2"))


async def a_role_is_made_of_those_with_its_label(it: Case) -> None:
    label = {f"example.com/{it.namespace}": "true"}
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    await it.create("clusterroles", f"{it.namespace}-part", rules=[rule], metadata={"labels": label})
    aggregated = {"clusterRoleSelectors": [{"matchLabels": label}]}
    await it.create("clusterroles", f"{it.namespace}-whole", aggregationRule=aggregated)

    async def made_of_it() -> bool:
        return (await it.get(f"clusterroles/{it.namespace}-whole")).get("rules") == [rule]

    await it.until(made_of_it)


async def a_bootstrap_token_goes_when_it_has_expired(it: Case) -> None:
    provider = Case(it.client, "kube-system", "system")
    for token, seconds in (("aaaaaa", 2), ("bbbbbb", 3600)):
        expiration = times.format_time(times.now() + timedelta(seconds=seconds))
        data = {"token-id": token, "token-secret": "0123456789abcdef", "expiration": expiration}
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        await provider.create("secrets", f"bootstrap-token-{token}", type="bootstrap.kubernetes.io/token", data=encoded)
    await provider.gone("secrets/bootstrap-token-aaaaaa")
    assert await provider.code(provider.get("secrets/bootstrap-token-bbbbbb")) == 200
    await provider.delete("secrets/bootstrap-token-bbbbbb")


async def a_service_range_stays_while_it_has_addresses(it: Case) -> None:
    name = f"range-{it.namespace}"
    await it.create("servicecidrs", name, {"cidrs": ["10.77.0.0/24"]})
    await it.condition(f"servicecidrs/{name}", "Ready", "True")
    await it.create("services", "inside", {"ports": [{"port": 80}], "clusterIP": "10.77.0.9"})
    await it.delete(f"servicecidrs/{name}")
    await it.condition(f"servicecidrs/{name}", "Ready", "False", "Terminating")
    await it.delete("services/inside")
    await it.gone(f"servicecidrs/{name}")
