"""`hn node`: takes a node out of use, with the pods of all tenants; `kubectl drain` moves those of one tenant only.

Pods are evicted, so that disruption budgets are heeded and workloads make others elsewhere. A DaemonSet's stay, as its
controller would make them again; one that nobody would make again goes only by `--force`.
"""

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypernetes.api import scheme
from hypernetes.api.models.core_v1 import Node, Pod
from hypernetes.api.object import tenant_of
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.cli import leftovers
from hypernetes.cli.errors import CommandError
from hypernetes.cli.layout import Layout
from hypernetes.client import Client

_PODS = scheme.by_name("v1", "pods")
_FINISHED = ("Succeeded", "Failed")
LOOK_SECONDS = 1.0
_SHOWN = 10  # pods named in one sentence


@dataclass(frozen=True, slots=True)
class Drained:
    evicted: int
    stay: int  # pods of DaemonSets


async def cordon(client: Client, name: str, *, cordoned: bool) -> None:
    """Raises StatusError for a node that isn't there."""
    body = {"spec": {"unschedulable": cordoned}}
    await client.patch(Node, name, body, tenant=SYSTEM_TENANT, kind="merge")


async def drain(
    client: Client, name: str, *, timeout: float, force: bool, tell: Callable[[str], None]
) -> Drained:  # fmt: skip
    """Cordons the node and waits until its pods are gone. Raises CommandError for pods that stay after `timeout`
    seconds, or that nobody would make again."""
    await cordon(client, name, cordoned=True)
    found = await _pods(client, name)
    lone = [pod for pod in found if _owner(pod) is None and pod.status.phase not in _FINISHED]
    if lone and not force:
        raise CommandError(f"nobody would make these pods again (--force evicts them): {_names(lone)}")
    evicted: set[str] = set()
    try:
        async with asyncio.timeout(timeout):
            while left := [pod for pod in await _pods(client, name) if _owner(pod) != "DaemonSet"]:
                for pod in left:
                    if pod.metadata.deletion_timestamp is None and await _evict(client, pod):
                        evicted.add(pod.metadata.uid or "")
                        tell(f"evicted {_name(pod)}")
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError as error:
        raise CommandError(
            f"after {timeout:g} s these pods are still there (disruption budgets, or long ends?): {_names(left)}"
        ) from error
    return Drained(len(evicted), len(await _pods(client, name)))


def agent_of(layout: Layout, name: str) -> int:
    """The process that looks after a node of this machine. Raises CommandError where there is none."""
    found = leftovers.processes_of(layout, layout.load(), list(leftovers.running_processes()))
    for process in found:
        words = process.argv
        if any(Path(word).name == "hn-agent" for word in words[:2]) and ("--node-name", name) in itertools.pairwise(
            words
        ):
            return process.pid
    raise CommandError(f"no hn-agent of a node {name} runs on this machine")


async def shut_down(client: Client, name: str, agent: int, *, timeout: float) -> int:
    """Has the node's agent end what runs, and returns how many pods that were. Raises CommandError where pods still run
    after `timeout` seconds."""
    await cordon(client, name, cordoned=True)
    count = len(left := await _running(client, name))
    os.kill(agent, signal.SIGPWR)
    try:
        async with asyncio.timeout(timeout):
            while left:
                await asyncio.sleep(LOOK_SECONDS)
                left = await _running(client, name)
    except TimeoutError as error:
        raise CommandError(f"after {timeout:g} s these pods still run: {_names(left)}") from error
    return count


async def _running(client: Client, node: str) -> list[Pod]:
    return [pod for pod in await _pods(client, node) if pod.status.phase == "Running"]


async def _evict(client: Client, pod: Pod) -> bool:
    """False where a disruption budget says: not now."""
    metadata = pod.metadata
    body = {
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": metadata.name, "namespace": metadata.namespace},
        "deleteOptions": {"preconditions": {"uid": metadata.uid}},
    }  # fmt: skip
    path = _PODS.path(tenant_of(pod), metadata.namespace, metadata.name, "eviction")
    try:
        await client.request("POST", path, json=body)
    except StatusError as error:
        if error.reason == "TooManyRequests":
            return False
        if error.reason not in ("NotFound", "Conflict"):  # gone, or another of that name
            raise
    return True


async def _pods(client: Client, node: str) -> list[Pod]:
    return (await client.list(Pod, tenant="*", field_selector=f"spec.nodeName={node}")).items


def _owner(pod: Pod) -> str | None:
    return next((owner.kind_ for owner in pod.metadata.owner_references if owner.controller), None)


def _name(pod: Pod) -> str:
    return f"{tenant_of(pod)}/{pod.metadata.namespace}/{pod.metadata.name}"


def _names(pods: list[Pod]) -> str:
    shown = ", ".join(sorted(map(_name, pods))[:_SHOWN])
    return shown if len(pods) <= _SHOWN else f"{shown} and {len(pods) - _SHOWN} more"
