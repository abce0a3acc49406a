"""A cluster whose nodes are Neutron's hosts: control plane on the machine, each hn-agent in its node's namespace."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import yaml

from hypernetes.api import times
from hypernetes.api.models.hypernetes_v1 import KeystoneIdentity, Tenant, TenantIdentity, TenantSpec
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.cli import credentials, leftovers, tenants
from hypernetes.client import Client
from hypernetes.pki import node_role
from tests.e2e.clusters import GUEST, REGISTRY
from tests.integration.control_plane import ControlPlane, free_port, running
from tests.openstack.daemons import Daemon
from tests.openstack.neutrons import Neutron
from tests.openstack.relays import Relay
from tests.openstack.switches import Switch

_BIN = Path(sys.executable).parent


class VMCluster:
    def __init__(self, plane: ControlPlane, client: Client, neutron: Neutron, cleanup: ExitStack) -> None:
        self.plane, self.client, self.neutron, self._cleanup = plane, client, neutron, cleanup

    def configuration(self, name: str, **said: object) -> str:
        """Of the network provider, as an option's value."""
        file = self.plane.layout.root / f"{name}-network.yaml"
        file.write_text(yaml.safe_dump(said))
        return f"neutron={file}"

    async def tenant(self, name: str) -> str:
        """Makes a tenant that is a project, whose id it gives, and its administrator's kubeconfig."""
        project = self.neutron.keystone.project(f"{name}-project")
        identity = TenantIdentity(keystone=KeystoneIdentity(project_id=project))
        await self.client.create(Tenant(metadata=ObjectMeta(name=name), spec=TenantSpec(identity=identity)))
        await tenants.create(self.client, self.plane.layout, name, None)
        return project

    def agent(self, node: Switch) -> Daemon:
        layout, cluster = self.plane.layout, self.plane.layout.load()
        pki, role, port = layout.pki_directory(cluster), node_role(node.name), free_port()
        for relayed in (self.plane.port, int(REGISTRY.partition(":")[2])):
            self._cleanup.enter_context(Relay(relayed, listens_in=node.namespace))
        self._cleanup.enter_context(Relay(port, dials_in=node.namespace))
        argv = [
            _BIN / "hn-agent", "--dir", layout.node(node.name), "--node-name", node.name,
            "--kubeconfig", layout.kubeconfig(role), "--cert", pki.certificate(role), "--key", pki.key(role),
            "--client-ca", pki.ca_certificate, "--port", str(port), "--cluster-id", cluster.id, "--guest", GUEST,
            "--insecure-registry", REGISTRY, "--network-provider", self.configuration(node.name, ovsdb=node.ovsdb),
        ]  # fmt: skip
        daemon = Daemon(argv, layout.log(f"agent-{node.name}"), namespace=node.namespace, stop_seconds=30)
        self._cleanup.callback(daemon.stop)
        return daemon

    def end_machines(self) -> None:
        """They outlive their agents."""
        found = leftovers.machines(self.plane.layout.load(), list(leftovers.running_processes()))
        for machine in found:
            os.kill(machine.pid, signal.SIGKILL)


@asynccontextmanager
async def vm_cluster(neutron: Neutron, directory: Path, balancers: str = "") -> AsyncIterator[VMCluster]:
    """`balancers`: `NAME=FILE` of the load balancer provider."""
    async with running(directory) as (plane, client):
        with ExitStack() as cleanup:
            made = VMCluster(plane, client, neutron, cleanup)
            nodes = [node.name for node in neutron.ovn.nodes]
            credentials.ensure(plane.layout, plane.layout.load(), nodes, times.now())
            provider = made.configuration(
                "controllers", cloud="neutron", clouds=str(neutron.clouds_file), externalNetwork=neutron.outside()
            )
            balancing = ("--load-balancer-provider", balancers) if balancers else ()
            await plane.start("controllers", "--network-provider", provider, "--port-sweep-seconds", "5", *balancing)
            await plane.start("scheduler")
            cleanup.callback(made.end_machines)
            for node in neutron.ovn.nodes:
                made.agent(node)
            yield made
