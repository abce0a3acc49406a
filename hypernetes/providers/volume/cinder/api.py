"""Cinder's REST API, in the project of a tenant. keystoneauth blocks, so its calls run in a few threads.

Each call carries a token of the tenant's project, which has the rights and the quota of that project and no other's,
and a service token besides: without one Cinder asks Nova before it ends an attachment, and there may be no Nova.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from hypernetes.providers.volume.base import Exhausted, Refused, Unavailable, VolumeError
from hypernetes.providers.volume.cinder import configuration
from hypernetes.providers.volume.cinder.configuration import Configuration

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter
    from openstack.config.cloud_region import CloudRegion

_MICROVERSION = "3.66"  # of Wallaby: snapshots of attached volumes without force; attachments are complete from 3.44 on
_THREADS = 8
CALL_SECONDS = 60.0  # Cinder's own calls between its processes have as long
_SCOPE = frozenset({
    "project_id", "project_name", "project_domain_id", "project_domain_name", "tenant_id", "tenant_name",
    "domain_id", "domain_name", "system_scope",
})  # fmt: skip


class Missing(Exception):
    """Cinder has nothing of this id in the project."""


class API:
    def __init__(self, said: Configuration) -> None:
        self._configuration = said
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="cinder")
        self._region: CloudRegion | None = None
        self._adapters: dict[str, Adapter] = {}

    async def get(self, project: str, path: str) -> dict[str, Any]:
        """Raises Missing, VolumeError; so do the others."""
        return await self._call(project, "GET", path, None)

    async def post(self, project: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._call(project, "POST", path, body)

    async def put(self, project: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._call(project, "PUT", path, body)

    async def delete(self, project: str, path: str) -> None:
        """What is gone is no error."""
        try:
            await self._call(project, "DELETE", path, None)
        except Missing:
            return

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, project: str, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        status, answer = await loop.run_in_executor(self._threads, self._request, project, method, path, body)
        if status == 404:
            raise Missing(path)
        if not 200 <= status < 300:
            raise failure(status, answer, f"{method} {path.partition('?')[0]}")
        return answer

    def _request(self, project: str, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        """In a thread. Raises Unavailable."""
        from keystoneauth1.exceptions import ClientException, Unauthorized

        try:
            response = self._adapter(project).request(
                path, method, json=body, raise_exc=False, redirect=False, headers={"Accept": "application/json"}
            )
        except Unauthorized as error:
            raise Unavailable(
                "NoAccess", "Keystone gives no token for the tenant's project: Hypernetes' user has no role there"
            ) from error
        except ClientException as error:
            raise Unavailable("CinderUnavailable", f"{type(error).__name__}: {str(error)[:200]}") from error
        try:
            answer = response.json() if response.content else {}
        except ValueError as error:
            if 200 <= response.status_code < 300:
                raise Unavailable("CinderUnavailable", f"{method}: the answer is no JSON") from error
            answer = {}
        return response.status_code, answer if isinstance(answer, dict) else {}

    def _adapter(self, project: str) -> "Adapter":
        """Two threads may make one at a time: the one that is kept is as good."""
        if found := self._adapters.get(project):
            return found
        # Here, since they are large: who has no Cinder doesn't have them in memory.
        from keystoneauth1.adapter import Adapter
        from keystoneauth1.loading import get_plugin_loader
        from keystoneauth1.service_token import ServiceTokenAuthWrapper
        from keystoneauth1.session import Session

        region = self._region = self._region or configuration.region(self._configuration)
        loader: Any = get_plugin_loader(region.config["auth_type"])
        own = region.get_auth_args()
        scoped = {name: value for name, value in own.items() if name not in _SCOPE} | {"project_id": project}
        auth = ServiceTokenAuthWrapper(
            user_auth=loader.load_from_options(**scoped), service_auth=loader.load_from_options(**own)
        )
        verify, certificate = region.get_requests_verify_args()
        session = Session(auth=auth, verify=verify, cert=certificate, timeout=CALL_SECONDS, app_name="hypernetes")
        self._adapters[project] = Adapter(
            session, service_type="block-storage", interface=region.get_interface("block-storage"),
            region_name=region.get_region_name("block-storage"), default_microversion=_MICROVERSION,
            endpoint_override=region.get_endpoint("block-storage"),
        )  # fmt: skip
        return self._adapters[project]


def failure(status: int, answer: dict[str, Any], what: str) -> VolumeError:
    """What an answer that is no success means. Cinder's text is about the tenant's own project. Pure."""
    fault = next((each for each in answer.values() if isinstance(each, dict)), {})
    text = f"Cinder, {what}: {str(fault.get('message') or status)[:300]}"
    if status == 413 or "overLimit" in answer:
        return Exhausted("QuotaExceeded", text)
    if status == 400:
        return Refused("CinderRefused", text)
    if status in (401, 403):
        return Unavailable("NoAccess", f"{text}; Hypernetes' user lacks a role there")
    if status == 409:
        return Unavailable("Conflict", text)
    return Unavailable("CinderUnavailable", text)
