"""ServiceAccounts: who pods are towards the API."""

from typing import Any

from hypernetes.apiserver.registry.strategy import Strategy

Object = dict[str, Any]

_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


def warnings(account: Object, old: Object | None) -> list[str]:
    if _MOUNTABLE not in (account["metadata"].get("annotations") or {}):
        return []
    return [
        f"metadata.annotations[{_MOUNTABLE}]: deprecated in v1.32+; prefer separate namespaces for separate secrets"
    ]


STRATEGY = Strategy(complete=True, returns_deleted=True, warnings=warnings)
