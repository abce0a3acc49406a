"""The key that signs a tenant's service-account tokens, kept in the store under an internal key.

Made at first use, and by one replica only: the others find it. Its name holds the tenant's UID, so a tenant created
again under an old name has another key.
"""

from collections import OrderedDict

from joserfc.jwk import ECKey

from hypernetes.apiserver.storage.base import KeyExists, Store

_KIND = "~tokenkeys"
_KEPT = 1024  # keys in memory; one more costs a read of the store


class TokenKeys:
    """`prefix` is the cluster's: `/hypernetes/<cluster id>`."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._prefix = store, prefix
        self._kept: OrderedDict[tuple[str, str], ECKey] = OrderedDict()

    async def of(self, tenant: str, tenant_uid: str) -> ECKey:
        """The tenant's key. Raises Unavailable."""
        kept = self._kept.get((tenant, tenant_uid))
        if kept is None:
            kept = ECKey.import_key(await self._load_or_create(self.store_key(tenant, tenant_uid)))
            self._kept[tenant, tenant_uid] = kept
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end((tenant, tenant_uid))
        return kept

    def store_key(self, tenant: str, tenant_uid: str) -> str:
        """Where the key is kept; deleting a tenant deletes all below `~tokenkeys/<tenant>/`."""
        return f"{self._prefix}/{_KIND}/{tenant}/{tenant_uid}"

    async def _load_or_create(self, store_key: str) -> bytes:
        item = await self._store.get(store_key)
        if item is not None:
            return item.value
        pem = ECKey.generate_key("P-256").as_pem(private=True)
        try:
            await self._store.create(store_key, pem)
        except KeyExists:
            item = await self._store.get(store_key)
            if item is None:
                raise
            return item.value
        return pem
