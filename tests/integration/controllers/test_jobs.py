"""Jobs on the real API server, with the real scheduler and controllers, on nodes without machines."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hypernetes.api.models.batch_v1 import Job
from hypernetes.api.models.core_v1 import Pod
from hypernetes.client import Client
from tests.integration.controllers.hollow_cluster import TENANT, hollow_cluster


def job(name: str, *args: str, **spec: Any) -> Job:
    container = {"name": "main", "image": "any/image:1", "args": list(args)}
    template = {"spec": {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}}
    return Job.from_dict(
        {"metadata": {"name": name, "namespace": "default"}, "spec": {"template": template, **spec}}
    )  # fmt: skip


async def until(client: Client, name: str, fits: Callable[[Job], bool]) -> Job:
    async with asyncio.timeout(90):
        while True:
            found = await client.get(Job, name, namespace="default", tenant=TENANT)
            if fits(found):
                return found
            await asyncio.sleep(0.1)


def ended(found: Job) -> bool:
    return any(entry.type in ("Complete", "Failed") and entry.status == "True" for entry in found.status.conditions)


@pytest.mark.killed
async def test_jobs_of_every_form_come_to_their_end(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path) as (plane, client):
        fail_index = {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [3]}}
        for each in (
            job("plain", "--exit-after=0.2", completions=5, parallelism=3),
            job("indexed", "--exit-after=0.2", completions=4, parallelism=4, completionMode="Indexed"),
            job("fails", "--exit-after=0.1", "--exit-code=1", backoffLimit=0),
            job(
                "indexes-fail", "--exit-after=0.1", "--exit-code=3", completions=2, parallelism=2,
                completionMode="Indexed", backoffLimitPerIndex=1, podFailurePolicy={"rules": [fail_index]},
            ),
            job("late", activeDeadlineSeconds=2),
            job("waits", suspend=True, completions=1),
        ):  # fmt: skip
            await client.create(each, tenant=TENANT)

        plain = await until(client, "plain", ended)
        assert (plain.status.succeeded, plain.status.failed or 0, plain.status.active or 0) == (5, 0, 0)
        indexed = await until(client, "indexed", ended)
        assert indexed.status.completed_indexes == "0-3"
        for name, reason in (
            ("fails", "BackoffLimitExceeded"),
            ("indexes-fail", "FailedIndexes"),
            ("late", "DeadlineExceeded"),
        ):
            found = await until(client, name, ended)
            assert [entry.reason for entry in found.status.conditions if entry.type == "Failed"] == [reason]
        pods = (await client.list(Pod, namespace="default", tenant=TENANT)).items
        assert not [pod.metadata.name for pod in pods if pod.metadata.finalizers], "all are counted"
        assert sum(pod.metadata.labels.get("job-name") == "plain" for pod in pods) == 5

        waits = await client.get(Job, "waits", namespace="default", tenant=TENANT)
        assert [(entry.type, entry.status) for entry in waits.status.conditions] == [("Suspended", "True")]
        printed = await plane.kubectl(TENANT, "get", "jobs", "plain", "fails", "--no-headers")
        assert [line.split()[:3] for line in printed.splitlines()] == [
            ["plain", "Complete", "5/5"],
            ["fails", "Failed", "0/1"],
        ]
        await plane.kubectl(TENANT, "delete", "job", "plain", "--wait")
        async with asyncio.timeout(60):
            while (await client.list(Pod, tenant=TENANT, label_selector="job-name=plain")).items:
                await asyncio.sleep(0.1)
