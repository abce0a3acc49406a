"""Which objects live, as authentication and admission ask: answers from the mirror, at once."""

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.api.tenancy import DEFAULT_SERVICE_CIDR, SYSTEM_TENANT, system_tenant_uid
from hypernetes.apiserver.authn import bootstraptokens
from hypernetes.apiserver.mirror import Entry, Mirror

_TENANTS = scheme.by_name("hypernetes.io/v1", "tenants")
_NAMESPACES = scheme.by_name("v1", "namespaces")
_NODES = scheme.by_name("v1", "nodes")
_PODS = scheme.by_name("v1", "pods")
_SECRETS = scheme.by_name("v1", "secrets")
_SERVICE_ACCOUNTS = scheme.by_name("v1", "serviceaccounts")


class Lookups:
    """Answers are as fresh as the mirror; who must be certain waits for `Freshness.now()` first."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._system_uid = system_tenant_uid(mirror.keys.cluster_id)

    def tenant_uid(self, tenant: str) -> str | None:
        if tenant == SYSTEM_TENANT:
            return self._system_uid
        return _uid(self._mirror.object(_TENANTS, SYSTEM_TENANT, "", tenant))

    def tenant(self, tenant: str) -> Entry | None:
        return self._mirror.object(_TENANTS, SYSTEM_TENANT, "", tenant)

    def tenant_weight(self, tenant: str) -> int:
        """Its share of what tenants have in common, as a multiple of what each has."""
        entry = self.tenant(tenant)
        if entry is None or b'"weight"' not in entry.data:
            return 1
        return int((orjson.loads(entry.data).get("spec") or {}).get("weight") or 1)

    def tenant_existed(self, tenant: str, revision: int) -> bool:
        """Whether this incarnation of the tenant was there at an older revision. Raises HistoryGone."""
        key = self._mirror.keys.of(_TENANTS, SYSTEM_TENANT, "", tenant)
        return _uid(self._mirror.at(key, revision)) == self.tenant_uid(tenant)

    def service_cidr(self, tenant: str) -> str:
        entry = self._mirror.object(_TENANTS, SYSTEM_TENANT, "", tenant)
        if entry is None:
            return DEFAULT_SERVICE_CIDR
        cidr: str = orjson.loads(entry.data)["spec"].get("serviceCIDR") or DEFAULT_SERVICE_CIDR
        return cidr

    def service_cidrs(self) -> list[str]:
        """Those of all tenants."""
        tenants = self._mirror.range(self._mirror.keys.range(_TENANTS, SYSTEM_TENANT))
        return [self.service_cidr(entry.name.name) for entry in tenants if entry.name is not None]

    def service_account_uid(self, tenant: str, namespace: str, name: str) -> str | None:
        return _uid(self._mirror.object(_SERVICE_ACCOUNTS, tenant, namespace, name))

    def pod_uid(self, tenant: str, namespace: str, name: str) -> str | None:
        return _uid(self._mirror.object(_PODS, tenant, namespace, name))

    def pod_account(self, tenant: str, namespace: str, name: str) -> str | None:
        entry = self._mirror.object(_PODS, tenant, namespace, name)
        return None if entry is None else orjson.loads(entry.data)["spec"].get("serviceAccountName")

    def secret_uid(self, tenant: str, namespace: str, name: str) -> str | None:
        return _uid(self._mirror.object(_SECRETS, tenant, namespace, name))

    def node_uid(self, name: str) -> str | None:
        return _uid(self._mirror.object(_NODES, SYSTEM_TENANT, "", name))

    def secret_token(self, tenant: str, namespace: str, name: str) -> str:
        entry = self._mirror.object(_SECRETS, tenant, namespace, name)
        return "" if entry is None else _token(entry)

    def bootstrap_secret(self, name: str) -> Mapping[str, Any] | None:
        entry = self._mirror.object(_SECRETS, SYSTEM_TENANT, bootstraptokens.NAMESPACE, name)
        return None if entry is None else orjson.loads(entry.data)

    def namespace(self, tenant: str, name: str) -> Entry | None:
        return self._mirror.object(_NAMESPACES, tenant, "", name)

    def service_account(self, tenant: str, namespace: str, name: str) -> Entry | None:
        return self._mirror.object(_SERVICE_ACCOUNTS, tenant, namespace, name)


def _uid(entry: Entry | None) -> str | None:
    """The UID of an entry, kept with it: authentication asks at each request."""
    if entry is None:
        return None
    if "uid" not in entry.views:
        entry.views["uid"] = orjson.loads(entry.data)["metadata"]["uid"].encode()
    return entry.views["uid"].decode()


def _token(secret: Entry) -> str:
    """The token that a Secret holds, kept with it: authentication asks at each request."""
    if "token" not in secret.views:
        encoded = str((orjson.loads(secret.data).get("data") or {}).get("token") or "")
        secret.views["token"] = base64.b64decode(encoded)
    return secret.views["token"].decode(errors="replace")
