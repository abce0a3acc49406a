"""`kubectl explain`, which reads our OpenAPI documents and the descriptions in them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypernetes.api import scheme
from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api.servers import User, serving
from tests.integration.api.test_kubectl import kubeconfig, kubectl

__all__ = ["kubeconfig"]


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[User]:
    """The kind of store makes no difference here."""
    store = await open_store(str(tmp_path / "state.db"))
    async with serving(store, tmp_path, "explain") as user:
        yield user
    await store.close()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("pod.spec.containers", ["KIND:       Pod", "FIELD: containers <[]Container>", "image\t<string>"]),
        ("pod.spec.containers.image", ["The image to start from"]),
        ("deployment.spec.strategy.rollingUpdate.maxSurge", ["GROUP:      apps", "25% by default"]),
        ("hpa.spec.metrics.resource.target", ["VERSION:    v2", "averageUtilization\t<integer>"]),
        ("namespace.spec.network", ["The Network that the namespace's pods join"]),
        ("tenants.spec", ["GROUP:      hypernetes.io", "serviceCIDR\t<string>"]),
        ("role.rules.verbs", ["deletecollection"]),
        ("limitrange.spec.limits.default", ["The limits of a container that has none"]),
    ],
)  # fmt: skip
async def test_a_field_is_explained(kubeconfig: Path, path: str, expected: list[str]) -> None:
    told = " ".join((await kubectl(kubeconfig, "explain", path)).split(" "))
    plain = " ".join(told.split())
    for text in expected:
        assert " ".join(text.split()) in plain, told
    assert "<empty>" not in told


async def test_all_fields_are_shown_at_once(kubeconfig: Path) -> None:
    told = await kubectl(kubeconfig, "explain", "statefulset", "--recursive")
    lines = [line.strip() for line in told.splitlines()]
    for text in (
        "volumeClaimTemplates\t<[]PersistentVolumeClaim>",
        "initialDelaySeconds\t<integer>",
        "mountPath\t<string> -required-",
    ):
        assert text in lines, told


async def test_an_older_version_is_explained_if_asked_for(kubeconfig: Path) -> None:
    told = await kubectl(kubeconfig, "explain", "hpa.spec", "--api-version=autoscaling/v1")
    assert "targetCPUUtilizationPercentage" in told


async def test_every_resource_is_listed(kubeconfig: Path) -> None:
    listed = (await kubectl(kubeconfig, "api-resources", "--no-headers", "-o", "name")).split()
    assert set(listed) == {each.group_resource for each in scheme.served()}
    in_all = (await kubectl(kubeconfig, "api-resources", "--categories=all", "-o", "name")).split()
    assert set(in_all) == {each.group_resource for each in scheme.served() if "all" in each.categories}
