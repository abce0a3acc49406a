"""What every namespace has: the ServiceAccount `default`, and the cluster's CA for pods that ask their API."""

from hypernetes.api.models.core_v1 import ConfigMap, Namespace, ServiceAccount
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.writes import Create, Update, Write, carry_out_one

ACCOUNT, CA_CONFIG_MAP = "default", "kube-root-ca.crt"
_DESCRIPTION = {
    "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using "
    "internal endpoints such as the internal service IP or kubernetes.default.svc."
}


def plan(namespace: Namespace, has_account: bool, config_map: ConfigMap | None, ca: str) -> list[Write]:
    """`ca` in PEM."""
    if namespace.metadata.deletion_timestamp is not None or namespace.status.phase == "Terminating":
        return []
    writes: list[Write] = []
    name = namespace.metadata.name
    if not has_account:
        writes.append(Create(ServiceAccount(metadata=ObjectMeta(name=ACCOUNT, namespace=name))))
    data = {"ca.crt": ca}
    if config_map is None:
        metadata = ObjectMeta(name=CA_CONFIG_MAP, namespace=name, annotations=_DESCRIPTION)
        writes.append(Create(ConfigMap(metadata=metadata, data=data)))
    elif config_map.data != data:
        writes.append(Update(config_map.model_copy(update={"data": data})))
    return writes


class ServiceAccounts(Controller):
    name = "serviceaccount"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._namespaces = informers.of(Namespace)
        self._accounts = informers.of(ServiceAccount)
        self._config_maps = informers.of(ConfigMap)
        self._namespaces.on_key(self.queue.add)
        self._accounts.on_key(lambda key: self._part_changed(key, ACCOUNT))
        self._config_maps.on_key(lambda key: self._part_changed(key, CA_CONFIG_MAP))

    def _part_changed(self, key: Key, name: str) -> None:
        if key.name == name:
            self.queue.add(Key(key.tenant, "", key.namespace))

    async def reconcile(self, key: Key) -> float | None:
        namespace = self._namespaces.get(key)
        if namespace is None:
            return None
        has_account = Key(key.tenant, key.name, ACCOUNT) in self._accounts
        config_map = self._config_maps.get(Key(key.tenant, key.name, CA_CONFIG_MAP))
        ca = (self.client.config.ca_pem or b"").decode()
        for write in plan(namespace, has_account, config_map, ca):
            try:
                await carry_out_one(self.client, key.tenant, write)
            except Exception as error:
                # Made by someone else meanwhile, or the namespace is being deleted: either way an event follows.
                if not is_reason(error, "AlreadyExists", "Forbidden", "NotFound"):
                    raise
        return None
