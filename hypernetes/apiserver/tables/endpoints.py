"""Cells of endpoints and endpoint slices."""

from datetime import datetime
from typing import Any

from hypernetes.apiserver.tables.ages import age_of
from hypernetes.apiserver.tables.labels import NONE, first_few

Object = dict[str, Any]

_UNSET = "<unset>"


def endpoints(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], first_few(_addresses(obj), NONE), age_of(obj, now)]


def endpoint_slice(obj: Object, now: datetime) -> list[Any]:
    ports = [str(port.get("port") or "*") for port in obj.get("ports") or ()]
    addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return [
        obj["metadata"]["name"], obj.get("addressType", ""), first_few(ports, _UNSET), first_few(addresses, _UNSET),
        age_of(obj, now),
    ]  # fmt: skip


def _addresses(obj: Object) -> list[str]:
    found = []
    for subset in obj.get("subsets") or ():
        addresses = [address["ip"] for address in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        if not ports:
            found += addresses
        for port in ports:
            found += [f"[{ip}]:{port['port']}" if ":" in ip else f"{ip}:{port['port']}" for ip in addresses]
    return found
