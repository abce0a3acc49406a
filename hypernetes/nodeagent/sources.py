"""The ConfigMaps and Secrets a pod names, read when they are needed: the agent keeps no other tenant's secrets."""

from collections.abc import Collection, Mapping
from typing import TypeVar

from hypernetes.api import scheme
from hypernetes.api.models.core_v1 import ConfigMap, Pod, Secret, ServiceAccount
from hypernetes.api.object import Object
from hypernetes.client import Client, is_reason
from hypernetes.nodeagent.environment import Sources

T = TypeVar("T", bound=Object)


class PodSources:
    """Reads for one pod: from its own namespace of its own tenant. All calls raise StatusError and TransportError."""

    def __init__(self, client: Client, tenant: str, namespace: str) -> None:
        self._client, self._tenant, self._namespace = client, tenant, namespace

    async def read(self, config_maps: Collection[str], secrets: Collection[str]) -> Sources:
        return Sources(
            {name: await self._get(ConfigMap, name) for name in sorted(config_maps)},
            {name: await self._get(Secret, name) for name in sorted(secrets)},
        )

    async def pull_secrets(self, pod: Pod) -> list[Secret]:
        """Of the pod and of its service account; missing ones are left out, as upstream does."""
        names = [each.name for each in pod.spec.image_pull_secrets if each.name]
        if not names:
            account = await self._get(ServiceAccount, pod.spec.service_account_name or "default")
            names = [each.name for each in account.image_pull_secrets if each.name] if account else []
        found = [await self._get(Secret, name) for name in names]
        return [secret for secret in found if secret is not None]

    async def token(self, pod: Pod, audiences: Collection[str], expiration_seconds: int) -> tuple[str, str]:
        """(token, RFC 3339 time of expiry), bound to the pod."""
        account = pod.spec.service_account_name or "default"
        path = scheme.by_name("v1", "serviceaccounts").path(self._tenant, self._namespace, account, "token")
        bound: Mapping[str, str | None] = {
            "kind": "Pod", "apiVersion": "v1", "name": pod.metadata.name, "uid": pod.metadata.uid,
        }  # fmt: skip
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": list(audiences),
                "expirationSeconds": expiration_seconds,
                "boundObjectRef": bound,
            },
        }
        status = (await self._client.request("POST", path, json=body))["status"]
        return status["token"], status["expirationTimestamp"]

    async def _get(self, model: type[T], name: str) -> T | None:
        try:
            return await self._client.get(model, name, namespace=self._namespace, tenant=self._tenant)
        except Exception as error:
            if is_reason(error, "NotFound"):
                return None
            raise
