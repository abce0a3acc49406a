"""`--drop-field NAME` takes a field from every pod, and then each test that shows it must fail; `all` does so with
every field, `sample` with a few."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.qemu_runtime import open_runtime
from hypernetes.nodeagent.runtime.template import Snapshot, TemplateKey
from tests.integration.pods.nodes import Node
from tests.integration.runtime.conftest import guest, image
from tests.integration.runtime.test_templates import KeptTemplates

__all__ = ["guest", "image"]

# One of each kind: environment, mounts, rights, life cycle.
SAMPLE = frozenset({"EnvVar.value", "VolumeMount.subPath", "Capabilities.drop", "Lifecycle.preStop"})

CLUSTER_ID = f"tp{os.getpid() % 100000}"  # of host-global names: another tree may run the same tests


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Without the option each test is run as it is; with it, once for each of its fields that is asked for."""
    if "drop" not in metafunc.fixturenames:
        return
    wanted = metafunc.config.getoption("drop_field")
    if wanted is None:
        metafunc.parametrize("drop", [pytest.param(None, id="whole")], scope="function")
        return
    shown = [field for mark in metafunc.definition.iter_markers("shows") for field in mark.args]
    chosen = [field for field in shown if wanted in (field, "all") or (wanted == "sample" and field in SAMPLE)]
    must_fail = pytest.mark.xfail(strict=True, raises=AssertionError, reason="a field is taken out")
    metafunc.parametrize("drop", [pytest.param(field, marks=must_fail) for field in chosen], scope="function")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that show none of the fields aren't run."""
    if config.getoption("drop_field") is not None:
        here = Path(__file__).parent
        items[:] = [
            item for item in items if item.path.is_relative_to(here) and "[" in item.name and "NOTSET" not in item.name
        ]


@pytest.fixture(scope="session")
def kept() -> Iterator[KeptTemplates]:
    """Templates for all these tests: making one takes seconds."""

    async def unserved(key: TemplateKey) -> Snapshot:
        raise MachineError("BootFailed", "no runtime is open")

    templates = KeptTemplates(unserved)
    yield templates
    asyncio.run(super(KeptTemplates, templates).close())


@pytest.fixture
async def node(guest: Path, image: Path, kept: KeptTemplates, drop: str | None) -> AsyncIterator[Node]:
    # Not pytest's own directory: a unix socket's path has 108 bytes, and QEMU's uid must reach it.
    with tempfile.TemporaryDirectory(prefix="hn-test-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        runtime = await open_runtime(directory / "node", guest, CLUSTER_ID, "tcg", run_directory=directory / "run")
        kept.serve(runtime)
        yield Node(directory, runtime, image, drop)
        await runtime.close()
        assert list((directory / "node" / "machines").iterdir()) == [], "machines are left behind"
