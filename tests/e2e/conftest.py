"""One cluster for all tests that only use it; tests of starting and stopping make their own."""

import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.clusters import POD_SECONDS, REGISTRY, REPOSITORY, Cluster, free_port
from tests.e2e.tenants import Tenant

IMAGES = REPOSITORY / "build" / "images"
IMAGES_SECONDS = 600.0  # to build them from nothing, with a slow mirror


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """Where the demo images are served; one that runs already is left as it is."""

    def images(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=IMAGES_SECONDS)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
        return done.stdout

    port = REGISTRY.partition(":")[2]
    serve = ("deploy/images/serve.py", str(IMAGES), "--port", port)
    ran = subprocess.run([sys.executable, *serve, "--status"], cwd=REPOSITORY, capture_output=True, timeout=60)
    images("deploy/images/build.py", str(IMAGES))
    images(*serve, "--detach")
    yield REGISTRY
    if ran.returncode != 0:
        images(*serve, "--stop")


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory, registry: str) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster") / "data", free_port())
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.kill_everything()


@pytest.fixture(scope="session")
def tenants(shared_cluster: Cluster) -> tuple[Tenant, Tenant]:
    """acme and globex with the examples deployed, each with a random word on its page."""
    made = tuple(Tenant(shared_cluster, name, secrets.token_hex(6)) for name in ("acme", "globex"))
    for tenant in made:
        tenant.deploy_examples()
    for tenant in made:
        tenant.wait_available(within=2 * POD_SECONDS)
    return made[0], made[1]


@pytest.fixture(scope="session")
def acme(tenants: tuple[Tenant, Tenant]) -> Tenant:
    return tenants[0]


@pytest.fixture(scope="session")
def globex(tenants: tuple[Tenant, Tenant]) -> Tenant:
    return tenants[1]
