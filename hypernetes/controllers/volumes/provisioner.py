"""Makes volumes for claims that no volume was there for.

    claim ── finalizer ─► provider.create ─► PersistentVolume, reserved for the claim ─► the binder ─► finalizer off

The driver finds by the name (of the claim's UID) what an earlier attempt has made. A claim that ends before there is a
PersistentVolume is held by its finalizer until what may have been made is deleted.
"""

from hypernetes.api.models.core_v1 import Node, PersistentVolume, PersistentVolumeClaim
from hypernetes.api.models.hypernetes_v1 import Tenant
from hypernetes.api.models.storage_v1 import StorageClass, VolumeAttributesClass
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.api.volumes import names
from hypernetes.client import Client, EventRecorder, Key, is_reason
from hypernetes.controllers.controller import Controller, Unfinished
from hypernetes.controllers.informers import Informers
from hypernetes.controllers.volumes import classes, faults, requests
from hypernetes.controllers.volumes.providers import Providers, answer, owner_of
from hypernetes.controllers.volumes.requests import Asked
from hypernetes.controllers.volumes.sources import Sources
from hypernetes.providers.volume.base import (
    Exhausted,
    Handle,
    Refused,
    Unavailable,
    VolumeError,
    VolumeProvider,
)

REFUSED_SECONDS = 300.0  # until what was refused is asked for again, if nothing changes before


class VolumeProvisioner(Controller):
    name = "volume-provisioner"
    workers = 16  # a driver may take its time

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder, providers: Providers) -> None:
        super().__init__(client, informers, recorder)
        self._providers = providers
        self._claims = informers.of(PersistentVolumeClaim)
        self._classes = informers.of(StorageClass)
        self._attributes = informers.of(VolumeAttributesClass)
        self._nodes = informers.of(Node)
        self._tenants = informers.of(Tenant)
        self._sources = Sources(informers)
        self._claims.on_key(self.queue.add)

    async def reconcile(self, key: Key) -> float | None:
        claim = self._claims.get(key)
        if claim is None:
            return None
        if claim.metadata.deletion_timestamp is not None or claim.spec.volume_name:
            if names.PROVISIONING_FINALIZER in claim.metadata.finalizers:
                await self._settle(key, claim)
            return None
        found = classes.find(self._classes, key.tenant, names.class_name(claim))
        provider = self._providers.get(found.provisioner) if found is not None else None
        if found is None or provider is None:
            return None
        if (
            found.volume_binding_mode == "WaitForFirstConsumer"
            and names.SELECTED_NODE not in claim.metadata.annotations
        ):
            await self._say_where(key, claim)
            return None
        if _provisioner(claim) != provider.driver:
            return None  # the binder may yet find a volume that is there
        try:
            await self._provision(key, claim, found, provider)
        except Exhausted as error:
            self._tell(claim, found, error)
            await self._give_node_back(key, claim)
            raise Unfinished(str(error)) from error
        except Refused as error:
            self._tell(claim, found, error)
            return REFUSED_SECONDS
        except Unavailable as error:
            self._tell(claim, found, error)
            raise Unfinished(str(error)) from error
        return None

    async def _provision(
        self, key: Key, claim: PersistentVolumeClaim, found: StorageClass, provider: VolumeProvider
    ) -> None:
        asked = self._asked(key.tenant, claim, found, provider)
        request = requests.request(asked, provider)
        if names.PROVISIONING_FINALIZER not in claim.metadata.finalizers:
            await self.client.update(requests.held(claim, asked.source), tenant=key.tenant)
        faults.passed(faults.CLAIM_HELD)
        message = f'External provisioner is provisioning volume for claim "{key.namespace}/{key.name}"'
        self.recorder.event(claim, "Normal", "Provisioning", message)
        volume = await answer(provider.create(request))
        faults.passed(faults.VOLUME_CREATED)
        try:
            await self.client.create(requests.recorded(asked, provider.driver, volume), tenant=key.tenant)
        except Exception as error:
            if not is_reason(error, "AlreadyExists"):
                raise
        faults.passed(faults.VOLUME_RECORDED)
        message = f"Successfully provisioned volume {requests.volume_name(claim)}"
        self.recorder.event(claim, "Normal", "ProvisioningSucceeded", message)

    def _asked(
        self, tenant: str, claim: PersistentVolumeClaim, found: StorageClass, provider: VolumeProvider
    ) -> Asked:  # fmt: skip
        attributes = None
        wanted = claim.spec.volume_attributes_class_name
        if wanted:
            attributes = classes.find(self._attributes, tenant, wanted)
            if attributes is None:
                raise Unavailable("NoClass", f'volumeattributesclass.storage.k8s.io "{wanted}" not found')
            if attributes.driver_name != provider.driver:
                raise Refused(
                    "OtherDriver", f"VolumeAttributesClass {wanted} is of the driver {attributes.driver_name}"
                )
            requests.permitted(attributes, provider)
        name, node = claim.metadata.annotations.get(names.SELECTED_NODE), None
        if name:
            node = self._nodes.get(Key(SYSTEM_TENANT, "", name))
            if node is None:
                raise Exhausted("NoNode", f"node {name}, which was selected, is gone")
        if names.PROVISIONING_FINALIZER in claim.metadata.finalizers:
            source = requests.source_of_held(claim)  # as it was asked for first, whatever is called so by now
        else:
            source = self._sources.of(tenant, claim, provider.driver)
        return Asked(claim, found, owner_of(self._tenants, tenant), attributes, source, node)

    def _tell(self, claim: PersistentVolumeClaim, found: StorageClass, error: VolumeError) -> None:
        message = f'failed to provision volume with StorageClass "{found.metadata.name}": {error.reason}: {error}'
        self.recorder.event(claim, "Warning", "ProvisioningFailed", message)

    async def _say_where(self, key: Key, claim: PersistentVolumeClaim) -> None:
        """Tells the scheduler which node keeps what the volume is to be made from."""
        node = self._sources.node(key.tenant, claim)
        if node is not None and claim.metadata.annotations.get(names.SOURCE_NODE) != node:
            told = claim.model_copy(deep=True)
            told.metadata.annotations[names.SOURCE_NODE] = node
            await self.client.update(told, tenant=key.tenant)

    async def _give_node_back(self, key: Key, claim: PersistentVolumeClaim) -> None:
        """There is no room where the scheduler has put the pod: it chooses again."""
        if names.SELECTED_NODE in claim.metadata.annotations:
            freed = claim.model_copy(deep=True)
            del freed.metadata.annotations[names.SELECTED_NODE]
            node = self._sources.node(key.tenant, claim)
            if node is not None:
                freed.metadata.annotations[names.SOURCE_NODE] = node
            await self.client.update(freed, tenant=key.tenant)

    # The end of provisioning

    async def _settle(self, key: Key, claim: PersistentVolumeClaim) -> None:
        """Lets go of a claim once a PersistentVolume stands for what was made for it, or nothing is left of that."""
        name = requests.volume_name(claim)
        if claim.spec.volume_name != name and not await self._is_recorded(key.tenant, name):
            provider = self._providers.get(_provisioner(claim))
            if provider is not None:
                await self._withdraw(key, claim, provider)
        freed = claim.model_copy(deep=True)
        freed.metadata.finalizers.remove(names.PROVISIONING_FINALIZER)
        await self.client.update(freed, tenant=key.tenant)

    async def _is_recorded(self, tenant: str, name: str) -> bool:
        try:
            await self.client.get(PersistentVolume, name, tenant=tenant)
        except Exception as error:
            if not is_reason(error, "NotFound"):
                raise
            return False
        return True

    async def _withdraw(self, key: Key, claim: PersistentVolumeClaim, provider: VolumeProvider) -> None:
        """Deletes what an attempt that nobody remembers may have made: asking for it again tells what it is."""
        try:
            owner = owner_of(self._tenants, key.tenant)
            request = requests.again(claim, owner)
            volume = await answer(provider.create(request))
            await answer(provider.delete(Handle(owner, volume.id)))
        except (Refused, Exhausted):
            return  # what can't be made isn't there
        except Unavailable as error:
            self.recorder.event(claim, "Warning", "ProvisioningCleanupFailed", str(error))
            raise Unfinished(str(error)) from error


def _provisioner(claim: PersistentVolumeClaim) -> str | None:
    return claim.metadata.annotations.get(names.PROVISIONERS[0])
