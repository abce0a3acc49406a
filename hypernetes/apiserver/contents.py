"""What a tenant starts with, and what becomes of it when it is suspended or ends (teardown.py).

Both can be interrupted anywhere and are taken up again at the next start: a tenant is Active once it has everything,
and it is gone only when nothing of it is left.
"""

import asyncio
import ipaddress
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

import orjson
import structlog

from hypernetes.api import scheme, tenancy
from hypernetes.api.scheme import Resource
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import codec, registry, schema, suspension, tenantstates
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import Entry, Event, Mirror
from hypernetes.apiserver.objects import Decide, Objects, Place, Put, Written
from hypernetes.apiserver.registry import addresses, priorityclasses, tenants
from hypernetes.apiserver.registry.metadata import fill_new
from hypernetes.apiserver.serving import ServingCertificate
from hypernetes.apiserver.storage.base import SideWrite, Store, Unavailable
from hypernetes.apiserver.teardown import Teardown, reached

Object = dict[str, Any]

TENANTS = scheme.by_name("hypernetes.io/v1", "tenants")
ADDRESSES = scheme.by_name("networking.k8s.io/v1", "ipaddresses")
_PODS = scheme.by_name("v1", "pods")
_API_PORT = 6443  # of the endpoints that pods are told; they reach it through the guest link, whatever the real one
_RETRY_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 0.5  # at a tenant that waits for pods, networks or finalizers

log = structlog.get_logger()


def first_objects(service_cidr: str) -> Iterator[tuple[str, str, Object]]:
    """(apiVersion, resource, object) of everything that is stored of a new tenant; implied.py has what follows."""
    for namespace in tenancy.TENANT_NAMESPACES:
        yield "v1", "namespaces", {"kind": "Namespace", "metadata": {"name": namespace}}
        yield "v1", "serviceaccounts", {
            "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace},
        }  # fmt: skip
    yield "networking.k8s.io/v1", "servicecidrs", addresses.default_range(service_cidr)
    address = tenancy.kubernetes_address(service_cidr)
    labels = {"component": "apiserver", "provider": "kubernetes"}
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": _API_PORT}
    yield "v1", "services", {
        "kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {"type": "ClusterIP", "clusterIP": address, "ports": [port]},
    }  # fmt: skip
    gateway = str(ipaddress.ip_network(tenancy.DEFAULT_SUBNET_CIDR)[1])
    subnet = {"cidr": tenancy.DEFAULT_SUBNET_CIDR, "gateway": gateway}
    yield "hypernetes.io/v1", "networks", {
        "kind": "Network", "metadata": {"name": tenancy.DEFAULT_NETWORK}, "spec": {"subnets": {"default": subnet}},
    }  # fmt: skip


def shared_objects() -> Iterator[tuple[str, str, Object]]:
    """What lies in `system` and is shown to every tenant, default roles aside (sharedroles.py)."""
    for name, value in priorityclasses.SYSTEM.items():
        thing = "the cluster" if "cluster" in name else "its node"
        yield "scheduling.k8s.io/v1", "priorityclasses", {
            "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
            "description": f"For what {thing} can't do without.",
        }  # fmt: skip


def completed(api_version: str, resource: Resource, obj: Object, now: datetime) -> Object:
    """An object of ours as its handler would have completed it."""
    kind = schema.for_kind(api_version, resource.kind)
    decoded, _ = kind.decode({"apiVersion": api_version, **obj}, "Ignore")
    strategy = registry.of(resource)
    fill_new(decoded["metadata"], now, generation=strategy.generation)
    kind.default(decoded)
    strategy.prepare_create(decoded)
    return decoded


def address_claim(keys: Keys, tenant: str, address: str, service: Object, now: datetime) -> SideWrite:
    """The claim of an address for a service: the IPAddress, which must not be there."""
    claim = completed(ADDRESSES.api_version, ADDRESSES, addresses.claimed(address, service), now)
    return SideWrite(keys.of(ADDRESSES, tenant, "", address), codec.encode(claim), expected=0)


class Contents:
    """Fills new tenants and empties those that end. Run `run()` in a task."""

    def __init__(
        self, store: Store, mirror: Mirror, keys: Keys, objects: Objects, serving: ServingCertificate,
        clock: Any,
    ) -> None:  # fmt: skip
        self._store, self._mirror, self._keys, self._objects = store, mirror, keys, objects
        self._serving, self._clock = serving, clock
        self._teardown = Teardown(store, mirror, keys, objects, clock)
        self._changed = asyncio.Event()
        self._due: set[str] = set()  # tenants that may have something to do
        self._all_due = True

    async def fill(self, tenant: str, service_cidr: str) -> None:
        """Writes what is missing of a tenant's first objects. Raises StatusError."""
        shared = shared_objects() if tenant == SYSTEM_TENANT else ()
        for api_version, name, first in (*first_objects(service_cidr), *shared):
            resource = scheme.by_name(api_version, name)
            obj = completed(api_version, resource, first, self._clock())
            metadata = obj["metadata"]
            place = Place(resource, tenant, metadata.get("namespace", ""), metadata["name"])
            if name == "servicecidrs":
                obj["status"] = {"conditions": [addresses.ready(metadata["creationTimestamp"])]}
            elif name == "services":
                obj["spec"] = {**obj["spec"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
            try:
                await self._objects.create(place, obj)
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise

    async def activate(self, tenant: str, service_cidr: str, created: int) -> Written:
        """Fills a tenant that is new at revision `created`, and says that it is ready. Raises StatusError."""

        def active(old: Object | None) -> Put:
            if old is None:
                raise StatusError("NotFound", f"tenant {tenant} is gone")
            return Put({**old, "status": {**old.get("status", {}), "phase": tenants.phase(old)}})

        await self._serving.cover([service_cidr])
        # What a request for a former tenant of this name may have written after that was gone.
        await reached(self._mirror, created)
        await self._teardown.sweep(tenant, before=created)
        await self.fill(tenant, service_cidr)
        return await self._objects.change(Place(TENANTS, SYSTEM_TENANT, "", tenant), active)

    async def suspend(self, tenant: Object) -> bool:
        """Stops the pods of a suspended tenant, and says so of any; False while there are pods that haven't stopped."""
        name, running = tenant["metadata"]["name"], 0
        if tenant["spec"].get("suspended"):
            for entry in list(self._mirror.range(self._keys.range(_PODS, name))):
                assert entry.name is not None
                if not suspension.runs(orjson.loads(entry.data)):
                    continue
                place = Place(_PODS, name, entry.name.namespace, entry.name.name)
                running += await self._change(place, partial(suspension.stopped, place, now=self._clock()))

        def told(old: Object | None) -> Put:
            if old is None:
                raise StatusError("NotFound", f"tenant {name} is gone")
            return Put(suspension.told(old, running, self._clock()))

        await self._objects.change(Place(TENANTS, SYSTEM_TENANT, "", name), told)
        return running == 0

    async def _change(self, place: Place, decide: Decide) -> bool:
        """Whether the object is still there afterwards."""
        try:
            return not (await self._objects.change(place, decide)).removed
        except StatusError as error:
            if error.reason != "NotFound":  # somebody else was faster
                raise
            return False

    async def run(self) -> None:
        """Takes up what a former process left half-done, and does what changes of a tenant began."""
        while True:
            self._changed.clear()
            due, everyone = self._due, self._all_due
            self._due, self._all_due = set(), False
            try:
                await reached(self._mirror, await self._store.revision())  # what we were told of may be newer
                for entry in list(self._mirror.range(self._keys.range(TENANTS, SYSTEM_TENANT))) if everyone else ():
                    if _is_special(entry) or b'"phase":"Active"' not in entry.data:
                        await self._advance(codec.decode(entry.data, entry.revision))
                for name in due:
                    found = self._mirror.object(TENANTS, SYSTEM_TENANT, "", name)
                    if found is not None:
                        await self._advance(codec.decode(found.data, found.revision))
            except Unavailable as error:
                log.warning("the contents of tenants have to wait", error=str(error))
                self._all_due = True
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._changed.set)
            await self._changed.wait()

    def look(self, tenant: str) -> None:
        """A tenant may have something to do."""
        self._due.add(tenant)
        self._changed.set()

    def observe(self, events: Iterable[Event]) -> None:
        """Looks at the tenants that changed, through whichever server, and aren't simply at work."""
        for event in events:
            if event.name.resource == TENANTS.name and event.entry is not None and _is_special(event.entry):
                self.look(event.name.name)

    def reset(self) -> None:
        self._all_due = True
        self._changed.set()

    async def _advance(self, tenant: Object) -> None:
        name, phase = tenant["metadata"]["name"], tenant.get("status", {}).get("phase")
        try:
            if "deletionTimestamp" in tenant["metadata"]:
                done = await self._teardown.remove(tenant)
            elif phase == tenants.INITIALIZING:
                await self.activate(name, tenant["spec"]["serviceCIDR"], int(tenant["metadata"]["resourceVersion"]))
                done = True
            else:
                done = await self.suspend(tenant)
            if not done:
                asyncio.get_running_loop().call_later(_LOOK_AGAIN_SECONDS, self.look, name)
        except StatusError as error:
            if error.reason != "NotFound":
                log.warning("a tenant's contents aren't complete", tenant=name, error=str(error))
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self.look, name)


def _is_special(tenant: Entry) -> bool:
    """Whether it is being deleted, suspended, or was suspended before."""
    return tenantstates.ends(tenant) or tenantstates.is_suspended(tenant) or b'"PodsStop' in tenant.data
