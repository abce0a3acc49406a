"""What every namespace has: the ServiceAccount `default`. (The cluster's CA is there by itself.)"""

from hypernetes.api.models.core_v1 import Namespace, ServiceAccount
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.writes import Create, Write, carry_out_one

ACCOUNT = "default"


def plan(namespace: Namespace, has_account: bool) -> Write | None:
    if has_account or namespace.metadata.deletion_timestamp is not None or namespace.status.phase == "Terminating":
        return None
    return Create(ServiceAccount(metadata=ObjectMeta(name=ACCOUNT, namespace=namespace.metadata.name)))


class ServiceAccounts(Controller):
    name = "serviceaccount"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._namespaces = informers.of(Namespace)
        self._accounts = informers.of(ServiceAccount)
        self._namespaces.on_key(self.queue.add)
        self._accounts.on_key(self._account_changed)

    def _account_changed(self, key: Key) -> None:
        if key.name == ACCOUNT:
            self.queue.add(Key(key.tenant, "", key.namespace))

    async def reconcile(self, key: Key) -> float | None:
        namespace = self._namespaces.get(key)
        if namespace is None:
            return None
        write = plan(namespace, Key(key.tenant, key.name, ACCOUNT) in self._accounts)
        if write is not None:
            try:
                await carry_out_one(self.client, key.tenant, write)
            except Exception as error:
                # Made by someone else meanwhile, or the namespace is being deleted: either way an event follows.
                if not is_reason(error, "AlreadyExists", "Forbidden", "NotFound"):
                    raise
        return None
