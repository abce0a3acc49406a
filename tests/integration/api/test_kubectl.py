"""kubectl itself against the server, where no controller is needed."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from hypernetes.apiserver.connections import Server
from tests.integration.api.servers import User

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: nginx, image: nginx}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


@pytest.fixture
async def kubeconfig(admin: User, tmp_path: Path) -> Path:
    pki = tmp_path / "pki"
    path = tmp_path / "kubeconfig"
    cluster = {"server": admin.url, "certificate-authority": str(pki / "ca.crt")}
    user = {"client-certificate": str(pki / "admin.crt"), "client-key": str(pki / "admin.key")}
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1", "kind": "Config", "current-context": "c",
                "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "c", "user": user}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            }
        )
    )  # fmt: skip
    return path


async def kubectl(config: Path, *arguments: str, stdin: str = "") -> str:
    environment = {
        **os.environ,
        "KUBECONFIG": str(config),
        "HOME": str(config.parent),
        "EDITOR": "sed -i s/nginx$/httpd/",
    }
    process = await asyncio.create_subprocess_exec(
        "kubectl", *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=environment,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate(stdin.encode())
    assert process.returncode == 0, f"kubectl {arguments}: {err.decode()}"
    return out.decode()


async def test_all_that_it_asks_shares_one_connection(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, multiplexed = [], []
    for name, made in (("plain", plain), ("multiplexed", multiplexed)):
        make = getattr(Server, name)
        monkeypatch.setattr(Server, name, lambda self, make=make, made=made: made.append(1) or make(self))
    assert "default" in await kubectl(kubeconfig, "get", "namespaces")
    assert (len(plain), len(multiplexed)) == (0, 1)


async def test_a_manifest_is_applied_changed_and_deleted(kubeconfig: Path) -> None:
    applied = await kubectl(kubeconfig, "apply", "-f", "-", stdin=MANIFEST)
    assert applied == "deployment.apps/web created\nservice/web created\n"
    again = await kubectl(kubeconfig, "apply", "-f", "-", stdin=MANIFEST)
    assert again == "deployment.apps/web unchanged\nservice/web unchanged\n"
    await kubectl(kubeconfig, "scale", "deployment/web", "--replicas=5")
    assert await kubectl(kubeconfig, "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "5"
    await kubectl(kubeconfig, "edit", "deployment/web")
    wide = await kubectl(kubeconfig, "get", "deploy", "-o", "wide", "--no-headers")
    assert wide.split()[:3] == ["web", "0/5", "0"]
    patch = '{"spec":{"paused":true}}'
    assert await kubectl(kubeconfig, "patch", "deploy", "web", "-p", patch) == "deployment.apps/web patched\n"
    assert "paused: true" in await kubectl(kubeconfig, "get", "deploy", "web", "-o", "yaml")
    assert "Selector:" in await kubectl(kubeconfig, "describe", "service", "web")
    await kubectl(kubeconfig, "delete", "-f", "-", stdin=MANIFEST)
    assert await kubectl(kubeconfig, "get", "deploy,svc", "-o", "name") == "service/kubernetes\n"


async def test_objects_are_created_by_hand_and_waited_for(kubeconfig: Path) -> None:
    assert await kubectl(kubeconfig, "create", "configmap", "a", "--from-literal=x=y") == "configmap/a created\n"
    assert await kubectl(kubeconfig, "create", "deployment", "d", "--image=x") == "deployment.apps/d created\n"
    assert await kubectl(kubeconfig, "run", "p", "--image=busybox") == "pod/p created\n"
    await kubectl(kubeconfig, "label", "pod", "p", "tier=front")
    assert await kubectl(kubeconfig, "get", "pods", "-l", "tier=front", "-o", "name") == "pod/p\n"
    assert (
        await kubectl(kubeconfig, "wait", "pod/p", "--for=jsonpath={.status.phase}=Pending") == "pod/p condition met\n"
    )
    await kubectl(kubeconfig, "delete", "pod", "p")
    assert await kubectl(kubeconfig, "get", "pods", "-o", "name") == ""


async def test_kubectl_get_watches_row_by_row(kubeconfig: Path, admin: User) -> None:
    process = await asyncio.create_subprocess_exec(
        "kubectl", "get", "configmaps", "--watch", stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(kubeconfig.parent)},
    )  # fmt: skip
    assert process.stdout is not None

    async def row() -> list[str]:
        async with asyncio.timeout(60):
            return (await process.stdout.readline()).decode().split()

    try:
        assert await row() == ["NAME", "DATA", "AGE"]
        assert (await row())[:2] == ["kube-root-ca.crt", "1"]
        path = "/api/v1/namespaces/default/configmaps"
        await admin("POST", path, {"metadata": {"name": "a"}, "data": {"x": "y"}})
        assert (await row())[:2] == ["a", "1"]
        await admin("PUT", f"{path}/a", {"metadata": {"name": "a"}, "data": {"x": "y", "z": "y"}})
        assert (await row())[:2] == ["a", "2"]  # and no second header
    finally:
        process.kill()
        await process.wait()


async def read_until(stream: asyncio.StreamReader | None, text: str) -> None:
    assert stream is not None
    while line := (await stream.readline()).decode():
        if text in line:
            return
    raise AssertionError(f"{text!r} was never said")


async def test_kubectl_speaks_protobuf(kubeconfig: Path, admin: User) -> None:
    """As Go's typed clients do, in what has a command of its own: in, out, and in watches."""
    await kubectl(kubeconfig, "create", "deployment", "web", "--image=nginx:1", "--replicas=3")
    described = await kubectl(kubeconfig, "describe", "deployment", "web")
    assert {"Image: nginx:1", "Replicas: 3 desired | 0 updated | 0 total | 0 available | 0 unavailable"} <= {
        " ".join(line.split()) for line in described.splitlines()
    }
    assert "system:masters" in await kubectl(kubeconfig, "auth", "whoami")
    assert await kubectl(kubeconfig, "auth", "can-i", "create", "pods") == "yes\n"
    assert (await kubectl(kubeconfig, "create", "token", "default")).count(".") == 2
    process = await asyncio.create_subprocess_exec(
        "kubectl", "events", "--watch", "--no-headers", "-v=8", stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(kubeconfig.parent)},
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            await read_until(process.stderr, "Content-Type: application/vnd.kubernetes.protobuf;stream=watch")
            event = {"metadata": {"name": "a"}, "reason": "Told", "message": "in protobuf", "type": "Normal",
                     "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}}  # fmt: skip
            await admin("POST", "/api/v1/namespaces/default/events", event)
            await read_until(process.stdout, "in protobuf")
    finally:
        process.kill()
        await process.wait()
