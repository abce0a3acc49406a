"""A quota's ledger: what is used of it, and what a write makes of that."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from hypernetes.api.scheme import Resource
from hypernetes.apiserver import amounts
from hypernetes.apiserver.amounts import Amounts
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.quota import scopes, usage

Object = dict[str, Any]

_KIND = "quotas"  # of the internal keys


class Refused(Exception):
    """The write would pass the quota, or can't be counted; the message is for the client."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """`uid` is the quota's: one that was made again under an old name starts anew."""

    uid: str
    used: Amounts

    def encode(self) -> bytes:
        return orjson.dumps({"uid": self.uid, "used": self.used})

    @classmethod
    def decode(cls, data: bytes) -> "Ledger":
        found = orjson.loads(data)
        return cls(found["uid"], found["used"])


def ledger_key(keys: Keys, tenant: str, namespace: str, quota: str) -> str:
    return keys.internal(_KIND, tenant, namespace, quota)


def is_ledger(keys: Keys, key: str) -> bool:
    return key.startswith(keys.internal(_KIND, ""))


def charged(
    quota: Object, used: Amounts, resource: Resource, new: Object | None, old: Object | None, *, free: bool = False
) -> Amounts:
    """What is used once `new` has taken the place of `old` (None: it isn't there).

    A write that is `free` (of a status) is counted, but not refused. Raises Refused.
    """
    hard: Amounts = (quota.get("status") or {}).get("hard") or {}
    bounded = usage.names(resource, hard)
    if not bounded:
        return used
    name = quota["metadata"]["name"]
    if new is not None and old is None and scopes.matches(quota, resource, new):
        _check_stated(name, resource, new, bounded)
    delta = _delta(quota, resource, bounded, new, old)
    grown = {key: amount for key, amount in delta.items() if amounts.value(amount) > 0}
    if grown and not free:
        _check(name, hard, used, grown, bounded)
    return {**used, **_added(used, delta)}


def is_changed(quota: Object, resource: Resource, new: Object | None, old: Object | None) -> bool:
    """Whether what is used will be another amount."""
    bounded = usage.names(resource, (quota.get("status") or {}).get("hard") or {})
    return bool(bounded) and bool(_delta(quota, resource, bounded, new, old))


def counted(quota: Object, bounded: Iterable[str], resource: Resource, objects: Iterable[Object]) -> Amounts:
    """What objects that are there use of the names that a quota bounds."""
    wanted = usage.names(resource, bounded)
    total = amounts.total(_used_by(obj, quota, resource, wanted) for obj in objects)
    return {**dict.fromkeys(wanted, amounts.ZERO), **total}


def _delta(
    quota: Object, resource: Resource, bounded: Iterable[str], new: Object | None, old: Object | None
) -> Amounts:
    before, after = (_used_by(obj, quota, resource, bounded) for obj in (old, new))
    return amounts.without_zeros(amounts.subtract(after, before))


def _used_by(obj: Object | None, quota: Object, resource: Resource, bounded: Iterable[str]) -> Amounts:
    if obj is None or not scopes.matches(quota, resource, obj):
        return {}
    found = usage.of(resource, obj)
    return {name: found[name] for name in bounded if name in found}


def _check_stated(name: str, resource: Resource, new: Object, bounded: Iterable[str]) -> None:
    if (resource.group, resource.name) != ("", "pods"):
        return
    missing = usage.unstated(new, bounded)
    if missing:
        texts = "; ".join(f"{what} for: {','.join(containers)}" for what, containers in missing.items())
        raise Refused(f"failed quota: {name}: must specify {texts}")


def _check(name: str, hard: Amounts, used: Amounts, grown: Amounts, bounded: Iterable[str]) -> None:
    unknown = sorted(set(bounded) - used.keys())
    if unknown:
        raise Refused(f"status unknown for quota: {name}, resources: {','.join(unknown)}")
    over = [key for key in grown if amounts.value(amounts.plus(used[key], grown[key])) > amounts.value(hard[key])]
    if over:
        asked, have, most = (amounts.shown({key: of[key] for key in over}) for of in (grown, used, hard))
        raise Refused(f"exceeded quota: {name}, requested: {asked}, used: {have}, limited: {most}")


def _added(used: Amounts, delta: Amounts) -> Amounts:
    """The changed entries. Less than nothing is never used, should something have gone uncounted."""
    sums = {key: amounts.plus(used[key], amount) for key, amount in delta.items() if key in used}
    return {key: text if amounts.value(text) > 0 else amounts.ZERO for key, text in sums.items()}
