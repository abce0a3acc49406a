"""Deployments, ReplicaSets, ReplicationControllers, StatefulSets, DaemonSets, disruption budgets."""

from typing import Any

from tests.integration.controllers.documented.running import Case, Json, rolled, template, workload


async def deployment_rollover_ends_with_the_last_template(it: Case) -> None:
    await it.create("deployments", "web", workload("web", 4))
    for image in ("app:2", "app:3"):
        await it.patch("deployments/web", rolled(image))
    await it.status("deployments/web", updatedReplicas=4, availableReplicas=4, replicas=4)
    assert await it.images(app="web") == {"app:3": 4}


async def deployment_scales_a_stuck_rollout_in_proportion(it: Case) -> None:
    """The documentation's own figures: 10 replicas, 3 more and 2 fewer allowed, scaled to 15."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    await it.create("deployments", "web", workload("web", 10, strategy=rolling))
    await it.status("deployments/web", availableReplicas=10)
    await it.patch("deployments/web", rolled("app:2", ready=False))

    async def sizes() -> dict[str, int]:
        sets = await it.list("replicasets", app="web")
        return {each["spec"]["template"]["spec"]["containers"][0]["image"]: each["spec"]["replicas"] for each in sets}

    async def are(wanted: dict[str, int]) -> bool:
        return await sizes() == wanted

    await it.until(lambda: are({"app:1": 8, "app:2": 5}))
    await it.patch("deployments/web", {"spec": {"replicas": 15}})
    await it.until(lambda: are({"app:1": 11, "app:2": 7}))


async def deployment_tells_that_its_deadline_is_over_and_goes_back(it: Case) -> None:
    await it.create("deployments", "web", workload("web", 2, progressDeadlineSeconds=4))
    await it.condition("deployments/web", "Progressing", "True", "NewReplicaSetAvailable")
    await it.patch("deployments/web", rolled("app:2", ready=False))
    await it.condition("deployments/web", "Progressing", "False", "ProgressDeadlineExceeded")
    assert (await it.condition("deployments/web", "Available", "True"))["reason"] == "MinimumReplicasAvailable"
    await it.patch("deployments/web", rolled("app:1"))
    await it.condition("deployments/web", "Progressing", "True", "NewReplicaSetAvailable")
    await it.status("deployments/web", replicas=2, availableReplicas=2)


async def deployment_paused_changes_nothing_until_it_is_resumed(it: Case) -> None:
    await it.create("deployments", "web", workload("web", 2, paused=True))
    found = await it.condition("deployments/web", "Progressing", "Unknown", "DeploymentPaused")
    assert found
    assert await it.images() == {}
    await it.patch("deployments/web", {"spec": {"paused": False}})
    await it.status("deployments/web", availableReplicas=2)
    await it.patch("deployments/web", {"spec": {"paused": True}})
    changed = await it.patch("deployments/web", rolled("app:2"))
    await it.status("deployments/web", observedGeneration=changed["metadata"]["generation"])
    assert await it.images(app="web") == {"app:1": 2}
    await it.patch("deployments/web", {"spec": {"replicas": 3}})
    await it.status("deployments/web", availableReplicas=3)
    assert await it.images(app="web") == {"app:1": 3}, "it is scaled all the same"
    await it.patch("deployments/web", {"spec": {"paused": False}})
    await it.status("deployments/web", updatedReplicas=3, replicas=3)


async def deployment_recreate_never_has_two_templates_at_once(it: Case) -> None:
    await it.create("deployments", "web", workload("web", 3, strategy={"type": "Recreate"}))
    await it.status("deployments/web", availableReplicas=3)
    await it.patch("deployments/web", rolled("app:2"))

    async def ended() -> bool:
        pods = await it.list("pods", app="web")
        images = {pod["spec"]["containers"][0]["image"] for pod in pods}
        assert len(images) <= 1, images
        return images == {"app:2"} and len(pods) == 3

    await it.until(ended)


async def deployment_keeps_as_much_history_as_it_should(it: Case) -> None:
    await it.create("deployments", "web", workload("web", 1, revisionHistoryLimit=1))

    async def is_out(image: str) -> bool:
        return await it.images(app="web") == {image: 1}

    for number in (2, 3, 4):
        await it.status("deployments/web", updatedReplicas=1, availableReplicas=1, replicas=1)
        await it.patch("deployments/web", rolled(f"app:{number}"))
        await it.until(lambda image=f"app:{number}": is_out(image))

    async def two_are_left() -> bool:
        sets = await it.list("replicasets", app="web")
        revisions = sorted(each["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for each in sets)
        return revisions == ["3", "4"]

    await it.until(two_are_left)


async def deployment_waits_until_pods_are_ready_for_long_enough(it: Case) -> None:
    await it.create("deployments", "web", workload("web", 1, minReadySeconds=4))
    found = await it.status("deployments/web", readyReplicas=1)
    assert not found["status"].get("availableReplicas")
    await it.status("deployments/web", readyReplicas=1, availableReplicas=1)


async def deployment_tells_of_pods_that_are_on_their_way_out(it: Case) -> None:
    spec = workload("web", 1)
    spec["template"]["spec"]["terminationGracePeriodSeconds"] = 60
    spec["template"]["metadata"]["finalizers"] = ["example.com/hold"]
    await it.create("deployments", "web", spec)
    await it.status("deployments/web", availableReplicas=1)
    await it.patch("deployments/web", {"spec": {"replicas": 0}})
    await it.status("deployments/web", replicas=0)
    for pod in await it.list("pods", app="web"):
        await it.patch(f"pods/{pod['metadata']['name']}", {"metadata": {"finalizers": None}})
    await it.status("deployments/web", replicas=0, terminatingReplicas=0)


async def replica_set_takes_pods_that_fit_and_lets_go_of_those_that_dont(it: Case) -> None:
    bare = template("web")
    await it.create("pods", "bare", bare["spec"], metadata={"labels": {"app": "web"}})
    made = await it.create("replicasets", "web", workload("web", 2))
    await it.status("replicasets/web", replicas=2)
    (owner,) = (await it.get("pods/bare"))["metadata"]["ownerReferences"]
    assert owner["uid"] == made["metadata"]["uid"]
    await it.patch("pods/bare", {"metadata": {"labels": {"app": "debug"}}})

    async def replaced() -> bool:
        released = not (await it.get("pods/bare"))["metadata"].get("ownerReferences")
        return released and len(await it.list("pods", app="web")) == 2

    await it.until(replaced)


async def replica_set_deletes_the_cheapest_pod_first(it: Case) -> None:
    await it.create("replicasets", "web", workload("web", 3))
    await it.status("replicasets/web", readyReplicas=3)
    names = sorted(pod["metadata"]["name"] for pod in await it.list("pods", app="web"))
    cost = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-10"}}}
    await it.patch(f"pods/{names[1]}", cost)
    await it.patch("replicasets/web", {"spec": {"replicas": 2}})
    await it.gone(f"pods/{names[1]}")
    assert sorted(pod["metadata"]["name"] for pod in await it.list("pods", app="web")) == [names[0], names[2]]


async def replication_controller_keeps_its_number(it: Case) -> None:
    spec = {"replicas": 2, "selector": {"app": "web"}, "template": template("web")}
    await it.create("replicationcontrollers", "web", spec)
    await it.status("replicationcontrollers/web", readyReplicas=2)
    (first, _) = await it.list("pods", app="web")
    await it.delete(f"pods/{first['metadata']['name']}")
    await it.gone(f"pods/{first['metadata']['name']}")
    await it.status("replicationcontrollers/web", readyReplicas=2)


def stateful(replicas: int, **more: Any) -> Json:
    return workload("db", replicas, serviceName="db", **more)


async def names(it: Case, app: str = "db") -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in await it.list("pods", app=app))


async def stateful_set_counts_from_its_first_number(it: Case) -> None:
    await it.create("statefulsets", "db", stateful(2, ordinals={"start": 5}))
    await it.status("statefulsets/db", availableReplicas=2)
    assert await names(it) == ["db-5", "db-6"]
    pod = await it.get("pods/db-6")
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-6", "db")
    labels = pod["metadata"]["labels"]
    assert labels["statefulset.kubernetes.io/pod-name"] == "db-6"
    assert labels["apps.kubernetes.io/pod-index"] == "6"
    await it.patch("statefulsets/db", {"spec": {"ordinals": {"start": 6}}})

    async def moved() -> bool:
        return await names(it) == ["db-6", "db-7"]

    await it.until(moved)


async def stateful_set_rolls_out_above_its_partition_only(it: Case) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    await it.create("statefulsets", "db", stateful(3, updateStrategy=rolling))
    await it.status("statefulsets/db", availableReplicas=3)
    await it.patch("statefulsets/db", rolled("app:2"))
    found = await it.status("statefulsets/db", updatedReplicas=1, availableReplicas=3)
    assert found["status"]["currentRevision"] != found["status"]["updateRevision"]
    assert (await it.get("pods/db-2"))["spec"]["containers"][0]["image"] == "app:2"
    await it.delete("pods/db-0")

    async def back() -> bool:
        pod = await it.get("pods/db-0")
        return pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]

    await it.until(back)
    assert (await it.images(app="db")) == {"app:1": 2, "app:2": 1}, "below the partition the old one comes back"
    await it.patch("statefulsets/db", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}})
    await it.status("statefulsets/db", updatedReplicas=3, availableReplicas=3)


async def stateful_set_in_parallel_waits_for_nobody(it: Case) -> None:
    await it.create("statefulsets", "db", stateful(3, podManagementPolicy="Parallel", ready=False))

    async def all_there() -> bool:
        return await names(it) == ["db-0", "db-1", "db-2"]

    await it.until(all_there)
    await it.create("statefulsets", "slow", {**stateful(3, ready=False), "selector": {"matchLabels": {"app": "slow"}},
                                             "template": template("slow", ready=False)})  # fmt: skip
    await it.status("statefulsets/slow", replicas=1)
    assert await names(it, "slow") == ["slow-0"], "in order the next one waits"


async def stateful_set_may_miss_as_many_as_it_says(it: Case) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    await it.create("statefulsets", "db", stateful(3, updateStrategy=rolling, podManagementPolicy="Parallel"))
    await it.status("statefulsets/db", availableReplicas=3)
    await it.patch("statefulsets/db", rolled("app:2", ready=False))

    async def two_are_new() -> bool:
        return await it.images(app="db") == {"app:1": 1, "app:2": 2}

    await it.until(two_are_new)
    assert (await it.get("pods/db-0"))["spec"]["containers"][0]["image"] == "app:1"


async def stateful_set_replaces_on_delete_only_what_is_deleted(it: Case) -> None:
    await it.create("statefulsets", "db", stateful(2, updateStrategy={"type": "OnDelete"}))
    await it.status("statefulsets/db", availableReplicas=2)
    changed = await it.patch("statefulsets/db", rolled("app:2"))
    await it.status("statefulsets/db", observedGeneration=changed["metadata"]["generation"], availableReplicas=2)
    await it.delete("pods/db-0")

    async def one_is_new() -> bool:
        return await it.images(app="db") == {"app:1": 1, "app:2": 1}

    await it.until(one_is_new)


async def stateful_set_keeps_or_deletes_claims_as_it_says(it: Case) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}},
                 "storageClassName": "none"},
    }  # fmt: skip
    policy = {"whenScaled": "Delete", "whenDeleted": "Retain"}
    spec = stateful(
        2, podManagementPolicy="Parallel", volumeClaimTemplates=[claim], persistentVolumeClaimRetentionPolicy=policy
    )
    await it.create("statefulsets", "db", spec)

    async def claims(*wanted: str) -> bool:
        return sorted(each["metadata"]["name"] for each in await it.list("persistentvolumeclaims")) == list(wanted)

    await it.until(lambda: claims("data-db-0", "data-db-1"))
    await it.patch("statefulsets/db", {"spec": {"replicas": 1}})
    await it.until(lambda: claims("data-db-0"))
    await it.delete("statefulsets/db")
    await it.gone("pods/db-0")
    assert await claims("data-db-0"), "retained when the set is deleted"


async def daemon_set_obeys_taints_and_selectors(it: Case) -> None:
    """The provider's: a tenant's runs where the tenant is (test_daemonsets.py)."""
    provider = Case(it.client, "default", "system")
    taint = [{"key": "example.com/only", "effect": "NoSchedule"}]
    labels = {"example.com/fast": "yes"}
    await provider.patch("nodes/hollow-1", {"spec": {"taints": taint}})
    await provider.patch("nodes/hollow-0", {"metadata": {"labels": labels}})
    try:
        await provider.create("daemonsets", "plain", workload("plain", None))
        tolerant = workload("tolerant", None)
        tolerant["template"]["spec"]["tolerations"] = [{"key": "example.com/only", "operator": "Exists"}]
        await provider.create("daemonsets", "tolerant", tolerant)
        selective = workload("selective", None)
        selective["template"]["spec"]["nodeSelector"] = labels
        await provider.create("daemonsets", "selective", selective)
        for name, wanted in (("plain", 1), ("tolerant", 2), ("selective", 1)):
            await provider.status(f"daemonsets/{name}", desiredNumberScheduled=wanted, numberReady=wanted)
        (pod,) = await provider.list("pods", app="selective")
        assert pod["spec"]["nodeName"] == "hollow-0"
        await provider.patch("nodes/hollow-0", {"metadata": {"labels": {"example.com/fast": None}}})
        await provider.status("daemonsets/selective", desiredNumberScheduled=0, currentNumberScheduled=0)
    finally:
        await provider.patch("nodes/hollow-1", {"spec": {"taints": None}})


async def daemon_set_surges_before_it_takes_away(it: Case) -> None:
    provider = Case(it.client, it.namespace, "system")
    await provider.create("namespaces", it.namespace)
    surging = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await provider.create("daemonsets", "agent", workload("agent", None, updateStrategy=surging))
    ready = await provider.status("daemonsets/agent", desiredNumberScheduled=2, numberAvailable=2)
    assert ready["status"]["updatedNumberScheduled"] == 2
    await provider.patch("daemonsets/agent", rolled("app:2"))

    async def ended() -> bool:
        status = (await provider.get("daemonsets/agent"))["status"]
        assert not status.get("numberUnavailable"), "never fewer than there were"
        return status.get("updatedNumberScheduled") == 2 and await provider.images(app="agent") == {"app:2": 2}

    await provider.until(ended)


async def daemon_set_replaces_on_delete_only_what_is_deleted(it: Case) -> None:
    provider = Case(it.client, it.namespace, "system")
    await provider.create("namespaces", it.namespace)
    await provider.create("daemonsets", "agent", workload("agent", None, updateStrategy={"type": "OnDelete"}))
    await provider.status("daemonsets/agent", desiredNumberScheduled=2, numberAvailable=2)
    await provider.patch("daemonsets/agent", rolled("app:2"))
    (first, _) = await provider.list("pods", app="agent")
    await provider.delete(f"pods/{first['metadata']['name']}")

    async def one_is_new() -> bool:
        return await provider.images(app="agent") == {"app:1": 1, "app:2": 1}

    await provider.until(one_is_new)


async def _evict(it: Case, name: str) -> int:
    return await it.code(it.client.request("POST", it.path(f"pods/{name}/eviction"), json={"metadata": {"name": name}}))


async def budget_allows_as_many_disruptions_as_it_says(it: Case) -> None:
    """Of pods that nobody makes again: else a client that tries again, as it is told to, gets its way in the end."""
    for name in ("a", "b", "c"):
        await it.create("pods", name, template("web")["spec"], metadata={"labels": {"app": "web"}})
    await it.create("poddisruptionbudgets", "web", {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}})
    await it.status("poddisruptionbudgets/web", disruptionsAllowed=1, desiredHealthy=2, expectedPods=3)
    assert (await _evict(it, "a"), await _evict(it, "b")) == (200, 429)
    await it.create("pods", "d", template("web")["spec"], metadata={"labels": {"app": "web"}})
    await it.status("poddisruptionbudgets/web", disruptionsAllowed=1, currentHealthy=3)


async def budget_lets_unhealthy_pods_go_as_it_says(it: Case) -> None:
    for app, policy in (("strict", "IfHealthyBudget"), ("free", "AlwaysAllow")):
        await it.create("replicasets", app, workload(app, 1, ready=False))
        spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": app}}, "unhealthyPodEvictionPolicy": policy}
        await it.create("poddisruptionbudgets", app, spec)
        await it.status(f"poddisruptionbudgets/{app}", expectedPods=1, currentHealthy=0)

        async def started(app: str = app) -> Any:
            return [pod for pod in await it.list("pods", app=app) if pod["status"].get("phase") == "Running"]

        (pod,) = await it.until(started)
        assert await _evict(it, pod["metadata"]["name"]) == (429 if app == "strict" else 200)
