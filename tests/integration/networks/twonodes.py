"""Two nodes of one cluster on the test's machine: each in a network namespace of its own, joined by a link."""

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path

from hypernetes.providers.network.base import OPEN, Peer, PolicyGroup, PortPolicy, PortSpec
from hypernetes.providers.network.local import LocalNetworkProvider
from hypernetes.providers.network.local import namespaces as named

from .machines import Machine
from .matrix import Member
from .pods import Pod
from .suite import network, port

NODES = ("203.0.113.1", "203.0.113.2")


class TwoNodes:
    """`matrix.Wires` of the local provider."""

    def __init__(self, providers: list[LocalNetworkProvider], cleanup: ExitStack) -> None:
        self.providers, self._cleanup = providers, cleanup
        self._tenants: dict[str, int] = {}  # the segments of their networks
        self._ports: dict[str, tuple[int, PortSpec]] = {}  # by member
        self._set: dict[str, PortPolicy] = {}

    async def plug(self, member: Member) -> Pod:
        segment = self._tenants.setdefault(member.tenant, len(self._tenants) + 1)
        spec = port(network(member.tenant, segment_id=segment), member.address)
        made = await self.providers[member.node].plug(spec)
        self._ports[member.name] = member.node, spec
        return self._cleanup.enter_context(closing(Pod(spec, made)))

    async def plugged(self) -> None:
        for number, provider in enumerate(self.providers):
            for tenant, segment in self._tenants.items():
                peers = frozenset(
                    Peer(spec.mac_address, spec.address, NODES[node])
                    for node, spec in self._ports.values()
                    if node != number and spec.network.tenant == tenant
                )
                await provider.set_peers(network(tenant, segment_id=segment), peers)

    async def set_policies(self, groups: Mapping[str, PolicyGroup]) -> None:
        for name, group in groups.items():
            node, spec = self._ports[name]
            if self._set.get(name, OPEN) != group.policy:
                await self.providers[node].set_policy(spec, group.policy)
                self._set[name] = group.policy


@asynccontextmanager
async def two_nodes(site: Machine, directory: Path) -> AsyncIterator[TwoNodes]:
    cluster_id = site.new_cluster_id()
    names = [f"hnnode-{cluster_id}-{number}" for number in range(len(NODES))]
    providers = []
    named.prepare()
    with ExitStack() as cleanup:
        for name in names:
            named.ensure(name)
            cleanup.callback(named.remove, name)
        first, second = names
        site.host.command(f"ip -n {first} link add under0 type veth peer name under0 netns {second}")
        for number, (name, address) in enumerate(zip(names, NODES, strict=True)):
            for words in ("link set lo up", f"address add {address}/24 dev under0", "link set under0 up"):
                site.host.command(f"ip -n {name} {words}")
            file = directory / f"{name}.yaml"
            file.write_text(f"namespace: {name}\n")
            provider = LocalNetworkProvider(cluster_id, f"node-{number}", directory, address, file)
            await provider.open()
            providers.append(provider)
        with ExitStack() as pods:
            yield TwoNodes(providers, pods)
        for provider in providers:
            await provider.close(remove=True)
