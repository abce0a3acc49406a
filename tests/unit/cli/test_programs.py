"""The command lines of a cluster's processes."""

from itertools import pairwise
from pathlib import Path

from hypernetes.cli import programs
from hypernetes.cli.layout import Cluster, Layout
from hypernetes.cli.programs import Options


def test_the_server_asks_all_identity_providers_and_tenants_follow_the_first(tmp_path: Path) -> None:
    options = Options(("n1",), identity_providers=("keystone=/etc/hypernetes/keystone.yaml", "other"))
    layout, cluster = Layout.of(tmp_path), Cluster("abc123", agent_ports=(10250,))
    server = programs.apiserver(Path("/bin"), layout, cluster, options).argv
    rest = {program.name: program.argv for program in programs.others(Path("/bin"), layout, cluster, options)}

    def asked(argv: tuple[str, ...]) -> list[str]:
        return [value for flag, value in pairwise(argv) if flag == "--identity-provider"]

    assert asked(server) == ["keystone=/etc/hypernetes/keystone.yaml", "other"]
    assert asked(rest["hn-controllers"]) == ["keystone=/etc/hypernetes/keystone.yaml"]
    assert asked(rest["hn-scheduler"]) == asked(rest["hn-agent-n1"]) == []


def test_several_controllers_are_processes_alike_under_names_of_their_own(tmp_path: Path) -> None:
    options = Options(("n1",), controllers=3)
    layout, cluster = Layout.of(tmp_path), Cluster("abc123", agent_ports=(10250,))
    found = {each.name: each.argv for each in programs.others(Path("/bin"), layout, cluster, options)}
    assert list(found) == ["hn-scheduler", "hn-controllers", "hn-controllers-2", "hn-controllers-3", "hn-agent-n1"]
    assert found["hn-controllers"] == found["hn-controllers-2"] == found["hn-controllers-3"]


def test_of_several_nodes_each_has_a_network_namespace_and_an_address(tmp_path: Path) -> None:
    layout, cluster = Layout.of(tmp_path), Cluster("abc123", agent_ports=(10250, 10251))
    found = {
        each.name: dict(pairwise(each.argv))
        for each in programs.others(Path("/bin"), layout, cluster, Options(("n1", "n2")))
    }
    addresses = [found[f"hn-agent-{node}"]["--network-address"] for node in ("n1", "n2")]
    assert len(set(addresses)) == len(addresses)
    assert found["hn-agent-n2"]["--network-provider"] == f"local={layout.node('n2') / 'network.yaml'}"
    assert found["hn-controllers"]["--network-provider"] == "local"
    others = programs.others(Path("/bin"), layout, cluster, Options(("n1", "n2"), network_provider="neutron"))
    assert not any("--network-address" in each.argv for each in others)
