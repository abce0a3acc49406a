"""One control plane for all clients; each test module has a tenant of its own on it."""

from collections.abc import Iterator

import pytest

from tests.integration.clients.commands import Kubectl
from tests.integration.clients.planes import Plane, hollow_plane


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with hollow_plane(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture(scope="module")
def kubectl(plane: Plane, request: pytest.FixtureRequest) -> Kubectl:
    """As the administrator of this module's tenant."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    return plane.tenant(name)
