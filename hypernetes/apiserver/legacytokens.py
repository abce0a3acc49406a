"""Secrets of type `kubernetes.io/service-account-token`: filled with a token that counts for as long as the Secret.

A Secret that names an account by its annotation gets the account's UID, the token, the authority and the namespace. It
goes with the account. A token counts only while its Secret holds this very token, so a rotation of the tenant's keys,
after which all are written anew, ends former ones. Level-triggered, as signing.py is; each server may do it.
"""

import base64
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import structlog

from hypernetes.api import scheme
from hypernetes.apiserver import codec
from hypernetes.apiserver.authn import serviceaccounts
from hypernetes.apiserver.authn.serviceaccounts import BoundObject
from hypernetes.apiserver.authn.tokenkeys import TokenKeys
from hypernetes.apiserver.duekeys import DueKeys
from hypernetes.apiserver.keys import ObjectKey
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.mirror import Event, Mirror
from hypernetes.apiserver.objects import Objects, Place, Put, Remove, missing

Object = dict[str, Any]

TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME, ACCOUNT_UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
_MARK = f'"{TYPE}"'.encode()
_SECRETS = scheme.by_name("v1", "secrets")
_ACCOUNTS = scheme.by_name("v1", "serviceaccounts")

log = structlog.get_logger()


class LegacyTokens:
    """Tell it every event of the mirror, and when the mirror has been loaded anew; run `run()` in a task."""

    def __init__(
        self, mirror: Mirror, objects: Objects, lookups: Lookups, keys: TokenKeys, authority_pem: bytes,
        clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._mirror, self._objects, self._lookups, self._keys = mirror, objects, lookups, keys
        self._authority_pem, self._clock = authority_pem, clock
        self._due = DueKeys(self._handle, "a token secret")

    def observe(self, events: Iterable[Event]) -> None:
        for event in events:
            key = event.name
            if key.group != "core":
                continue
            if key.resource == _SECRETS.name and event.entry is not None and _MARK in event.entry.data:
                self._due.add(key)
            elif key.resource == _ACCOUNTS.name and (event.entry is None or event.previous is None):
                self._look_at_all(self._mirror.keys.range(_SECRETS, key.tenant, key.namespace))

    def reset(self) -> None:
        self._look_at_all(self._mirror.keys.range(_SECRETS))

    def rotated(self, tenant: str) -> None:
        """The tenant's tokens are to be signed anew."""
        self._look_at_all(self._mirror.keys.range(_SECRETS, tenant))

    def _look_at_all(self, prefix: str) -> None:
        for entry in self._mirror.range(prefix):
            if _MARK in entry.data and entry.name is not None:
                self._due.add(entry.name)

    async def run(self) -> None:
        """Until cancelled."""
        await self._due.run()

    async def _handle(self, key: ObjectKey) -> None:
        entry = self._mirror.object(_SECRETS, key.tenant, key.namespace, key.name)
        tenant_uid = self._lookups.tenant_uid(key.tenant)
        if entry is None or tenant_uid is None:
            return
        secret = codec.decode(entry.data, entry.revision)
        name = account_of(secret)
        if name is None:
            return
        uid = self._lookups.service_account_uid(key.tenant, key.namespace, name)
        place = Place(_SECRETS, key.tenant, key.namespace, key.name)
        if uid is None or secret["metadata"]["annotations"].get(ACCOUNT_UID, uid) != uid:
            if ACCOUNT_UID in secret["metadata"]["annotations"]:  # it was filled for an account that is gone
                await self._objects.change(place, lambda old: _gone(old, place, secret))
            return
        ring = await self._keys.ring(key.tenant, tenant_uid)
        if is_filled(secret, serviceaccounts.key_id(ring.keys[0].key)):
            return
        token = serviceaccounts.lasting(
            key.tenant, tenant_uid, key.namespace, BoundObject(name, uid),
            BoundObject(key.name, secret["metadata"]["uid"], "Secret"), self._clock(),
        )  # fmt: skip
        signed = serviceaccounts.sign(token, ring.keys[0].key)
        await self._objects.change(place, lambda old: self._filled(old, place, secret, uid, signed))

    def _filled(self, old: Object | None, place: Place, seen: Object, uid: str, signed: str) -> Put:
        if old is None or old["metadata"]["uid"] != seen["metadata"]["uid"]:
            raise missing(place)
        if account_of(old) != account_of(seen):
            return Put(old)  # it changed meanwhile, and will be looked at again
        metadata = {**old["metadata"], "annotations": {**old["metadata"]["annotations"], ACCOUNT_UID: uid}}
        values = {"token": signed.encode(), "ca.crt": self._authority_pem, "namespace": place.namespace.encode()}
        data = {**(old.get("data") or {}), **{key: base64.b64encode(value).decode() for key, value in values.items()}}
        return Put({**old, "metadata": metadata, "data": data})


def account_of(secret: Object) -> str | None:
    """The account that a Secret is to hold a token of; None for any other Secret."""
    if secret.get("type") != TYPE or "deletionTimestamp" in secret["metadata"]:
        return None
    return (secret["metadata"].get("annotations") or {}).get(ACCOUNT_NAME) or None


def is_filled(secret: Object, key_id: str) -> bool:
    """Whether it has all, and a token that the key with this id has signed."""
    data = secret.get("data") or {}
    if not all(data.get(key) for key in ("token", "ca.crt", "namespace")):
        return False
    try:
        return serviceaccounts.claimed_key(base64.b64decode(data["token"]).decode()) == key_id
    except ValueError:
        return False


def _gone(old: Object | None, place: Place, seen: Object) -> Put | Remove:
    if old is None or old["metadata"]["uid"] != seen["metadata"]["uid"]:
        raise missing(place)
    return Put(old) if old["metadata"].get("finalizers") else Remove()
