"""parts.Storage on real machines."""

from hypernetes.client import Client
from hypernetes.nodeagent.podrecord import PodRecord
from hypernetes.nodeagent.storage import podstorage
from hypernetes.nodeagent.storage.nodestorage import NodeStorage
from hypernetes.providers.volume.base import Owner


class Storage:
    def __init__(self, client: Client, node: NodeStorage) -> None:
        self._client, self.node = client, node

    async def adopt(self) -> None:
        """What an earlier agent had open, before any pod's worker begins."""
        await self.node.adopt()

    def of_pod(self, record: PodRecord) -> podstorage.PodStorage:
        """The pod must have its claim, which says who its tenant is."""
        assert record.claim is not None
        owner = Owner(record.tenant, record.claim.network.tenant_uid)
        return podstorage.PodStorage(
            self._client, self.node, owner, record.namespace, record.uid, podstorage.no_names
        )  # fmt: skip

    async def give_back(self, pod_uid: str) -> None:
        await podstorage.give_back(self.node, pod_uid)

    def pods(self) -> frozenset[str]:
        """Those for which something is open."""
        return frozenset(opened.pod_uid for opened in self.node.processes.opened())
