"""That the tests' Neutron carries packets: what all else here stands on."""

import time
from contextlib import ExitStack, closing
from pathlib import Path

from tests.openstack.daemons import until
from tests.openstack.foreign import ForeignMachine
from tests.openstack.keystones import Keystone
from tests.openstack.neutrons import Neutron
from tests.openstack.ovns import OVN

ALL = ("10.0.0.5", "10.0.0.6", "10.0.0.7")
SECONDS = 10


def test_machines_on_two_nodes_reach_each_other_and_not_a_network_of_the_same_range(
    keystone: Keystone, neutron: Neutron, ovn: OVN, tmp_path: Path
) -> None:
    with ExitStack() as cleanup:
        machines = []
        for name, addresses in (("wired", ("10.0.0.5", "10.0.0.6")), ("unwired", ("10.0.0.7",))):
            project = keystone.project(name)
            network = neutron.create("network", name=name, project_id=project)
            subnet = neutron.create("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/24")
            group = neutron.create("security_group", name=name, project_id=project)
            ingress = {"direction": "ingress", "ethertype": "IPv4", "remote_ip_prefix": "0.0.0.0/0"}
            neutron.rest.post(
                "/security-group-rules",
                json={"security_group_rule": {"security_group_id": group["id"], "project_id": project, **ingress}},
            )
            for node, address in zip(ovn.nodes, addresses, strict=False):
                port = neutron.create(
                    "port", network_id=network["id"], project_id=project, device_owner="compute:nova",
                    security_groups=[group["id"]], fixed_ips=[{"subnet_id": subnet["id"], "ip_address": address}],
                    **{"binding:host_id": node.name},
                )  # fmt: skip
                assert port["binding:vif_type"] == "ovs", port
                directory = tmp_path / address
                directory.mkdir()
                made = ForeignMachine(neutron, node, port, directory, *(each for each in ALL if each != address))
                machines.append(cleanup.enter_context(closing(made)))
        one, two, other = machines
        until(lambda: one.reaches(two.address) and two.reaches(one.address), "the other machine of the network")
        time.sleep(SECONDS)  # each has tried all the others meanwhile
        assert not any(each.reaches(other.address) for each in (one, two))
        assert not any(other.reaches(each.address) for each in (one, two))
