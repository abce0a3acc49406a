"""Where the other pods of a network are: told to the network provider once for each network, however many pods it has
on this node."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from hypernetes.nodeagent.tenantview import TenantViews
from hypernetes.providers.network.base import NetworkProvider, NetworkSpec, Peer


class NetworkPeers:
    def __init__(self, views: TenantViews, provider: NetworkProvider, node_name: str) -> None:
        self._views, self._provider, self._node_name = views, provider, node_name
        self._told: dict[str, frozenset[Peer]] = {}  # by the network's UID
        self._following: Counter[str] = Counter()  # pods by the network's UID

    @contextmanager
    def followed(self, network: NetworkSpec) -> Iterator[None]:
        """A pod of the network is kept up to date; what was told is forgotten with the last one."""
        self._following[network.uid] += 1
        try:
            yield
        finally:
            self._following[network.uid] -= 1
            if not self._following[network.uid]:
                del self._following[network.uid]
                self._told.pop(network.uid, None)

    async def tell(self, network: NetworkSpec, *, anew: bool = False) -> None:
        """Tells the provider what has changed; all of it with `anew`, for a network that may just have come to this
        node. Raises NetworkError."""
        peers = await self._views.peers(network.tenant, network.name, self._node_name)
        if anew or self._told.get(network.uid) != peers:
            await self._provider.set_peers(network, peers)
            if self._following[network.uid]:
                self._told[network.uid] = peers
