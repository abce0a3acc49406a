"""A network provider of a third party (tests/thirdparty/ovn), installed by pip, on OVN alone: without Neutron."""

import re
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hypernetes.providers import loading
from hypernetes.providers.network.base import PluggedPort, PortBinder, PortSpec
from tests.openstack.bindersuite import PortBinderSuite, Site
from tests.openstack.ovns import OVN
from tests.openstack.switches import OUTSIDE_CIDR, OUTSIDE_GATEWAY
from tests.thirdparty import wheels

pytestmark = pytest.mark.timeout(300)
SOURCES = Path(wheels.__file__).parent / "ovn"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with wheels.reachable(wheels.install("ovn", tmp_path_factory.mktemp("wheel"))):
        yield


def configuration(ovn: OVN, directory: Path) -> dict[str, Path]:
    """By node; "" is hn-controllers'."""
    outside = {
        "network": "public", "chassis": "host1", "cidr": OUTSIDE_CIDR, "gateway": OUTSIDE_GATEWAY,
        "first": "198.51.100.210", "last": "198.51.100.250",
    }  # fmt: skip
    said: dict[str, dict[str, Any]] = {"": {"northbound": ovn.northbound, "outside": outside}}
    said |= {node.name: {"ovsdb": node.ovsdb} for node in ovn.nodes}
    files = {name: directory / f"ovn-{name or 'control'}.yaml" for name in said}
    for name, file in files.items():
        file.write_text(yaml.safe_dump(said[name]))
    return files


class ThirdPartySite(Site):
    def __init__(self, ovn: OVN, directory: Path, cluster_id: str) -> None:
        super().__init__(ovn)
        files = configuration(ovn, directory)
        factory = loading.load("network", "ovn")

        def made(node: str) -> Any:
            return factory(cluster_id=cluster_id, node_name=node, state_dir=directory, configuration=files[node])

        self.control = made("")
        self._agents = {node.name: node.namespace.run(lambda name=node.name: made(name)) for node in ovn.nodes}

    async def on_node(self, node: str, port: PortSpec) -> PluggedPort:
        return await self._agents[node].plug(port)

    def project(self, name: str) -> str:
        return ""

    def port_ids(self) -> set[str]:
        return {*self.ovn.nbctl("--bare", "--columns=name", "list", "Logical_Switch_Port").split()}

    def remove_port(self, id: str) -> None:
        self.ovn.nbctl("lsp-del", id)

    async def close(self) -> None:
        self.pods.close()
        for agent in self._agents.values():
            await agent.close(remove=True)
        await self.control.close(remove=False)


class TestThirdPartyProvider(PortBinderSuite):
    @pytest.fixture
    async def wired(self, installed: None, ovn: OVN, tmp_path: Path) -> AsyncIterator[ThirdPartySite]:
        made = ThirdPartySite(ovn, tmp_path, secrets.token_hex(3))
        try:
            yield made
        finally:
            await made.close()


def test_it_imports_nothing_of_ours_but_the_interface() -> None:
    text = "\n".join(file.read_text() for file in (SOURCES / "hypernetes_ovn").glob("*.py"))
    imported = {*re.findall(r"^\s*(?:from|import) (hypernetes\.\S+)", text, re.MULTILINE)}
    assert imported == {"hypernetes.providers.network.base"}


def test_it_runs_in_a_process_of_its_own(installed: None, ovn: OVN, tmp_path: Path) -> None:
    made = loading.load("network", "ovn")(cluster_id="abc123", node_name="", state_dir=tmp_path)
    assert type(made).__module__.startswith("hypernetes.providers.network.hosted")
    assert isinstance(made, PortBinder)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("{colour: red}")
    with pytest.raises(ValueError, match="colour is not known"):
        loading.load("network", "ovn")(cluster_id="a", node_name="", state_dir=tmp_path, configuration=wrong)
