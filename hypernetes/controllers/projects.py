"""Tenants come and go with what an identity provider knows: projects, as Keystone calls them.

    the provider's list, every 2.5 s ─► what changed ─┐
    Tenants of the provider, as they change ──────────┴─► by project id: plan ─► create, update or delete the Tenant

    new        ─► a Tenant, called after the project as far as names allow
    disabled   ─► suspended, until it is enabled again
    deleted    ─► suspended; once the grace is over, the Tenant is deleted

What isn't listed any more is asked about by its id, and goes only once the provider says that it is gone for good:
another configuration of which projects are tenants ends none. Annotations remember what was done here, so what the
provider's administrator suspends stays suspended.
"""

import asyncio
import re
from datetime import datetime, timedelta

import structlog

from hypernetes.api import times
from hypernetes.api.models.hypernetes_v1 import KeystoneIdentity, Tenant, TenantIdentity, TenantSpec
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers
from hypernetes.providers.identity.base import ExternalTenant, IdentityProvider, ProviderUnavailable

SUSPENDED_HERE = "hypernetes.io/suspended-by-project"  # annotation: why; who else suspends a tenant doesn't set it
GONE_SINCE = "hypernetes.io/project-gone-since"  # annotation: when the project was found to be gone
DEFAULT_GRACE_SECONDS = 86_400.0
_POLL_SECONDS = 2.5
_LONGEST_PAUSE_SECONDS = 30.0  # between questions to a provider that doesn't answer
_UNLISTED_SECONDS = 60.0  # between looks at a project that is there and not listed
_REFUSED_SECONDS = 60.0  # until the deletion of a protected tenant is tried again
_MAX_NAME = 63
_UNFIT = re.compile(r"[^a-z0-9]+")

log = structlog.get_logger(__name__)


def names(project: ExternalTenant) -> tuple[str, str]:
    """What its tenant is called if that is free, and if it isn't. Names need not be unique over Keystone's domains."""
    fit = _UNFIT.sub("-", project.name.lower()).strip("-") or "project"
    distinct = f"-{_UNFIT.sub('', project.id.lower())[:8]}"
    plain = fit[:_MAX_NAME].rstrip("-")
    return plain, fit[: _MAX_NAME - len(distinct)].rstrip("-") + distinct


def new_tenant(project: ExternalTenant, name: str) -> Tenant:
    keystone = KeystoneIdentity(project_id=project.id, domain_id=project.domain or None)
    spec = TenantSpec(display_name=project.name, identity=TenantIdentity(keystone=keystone))
    return Tenant(metadata=ObjectMeta(name=name), spec=spec)


def planned(tenant: Tenant, project: ExternalTenant | None, now: datetime) -> Tenant:
    """The tenant as it should be; itself if it is so. `project` is None once it is gone for good."""
    annotations = dict(tenant.metadata.annotations)
    reason = "deleted" if project is None else "" if project.enabled else "disabled"
    spec = tenant.spec
    if project is None:
        annotations.setdefault(GONE_SINCE, times.format_time(now))
    else:
        annotations.pop(GONE_SINCE, None)
        keystone = KeystoneIdentity(project_id=project.id, domain_id=project.domain or None)
        update = {"display_name": project.name, "identity": TenantIdentity(keystone=keystone)}
        spec = spec.model_copy(update=update)
    if reason and (not spec.suspended or SUSPENDED_HERE in annotations):
        annotations[SUSPENDED_HERE] = reason
        spec = spec.model_copy(update={"suspended": True})
    elif not reason and annotations.pop(SUSPENDED_HERE, None) is not None:
        spec = spec.model_copy(update={"suspended": False})
    if spec == tenant.spec and annotations == tenant.metadata.annotations:
        return tenant
    metadata = tenant.metadata.model_copy(update={"annotations": annotations})
    return tenant.model_copy(update={"metadata": metadata, "spec": spec})


def grace_left(tenant: Tenant, grace: timedelta, now: datetime) -> float | None:
    """Seconds until a tenant whose project is gone is deleted; None where it isn't gone."""
    since = tenant.metadata.annotations.get(GONE_SINCE)
    if since is None:
        return None
    try:
        begun = times.parse_time(since)
    except ValueError:  # somebody wrote something else there: from now on
        begun = now
    return (begun + grace - now).total_seconds()


class Projects(Controller):
    name = "project"

    def __init__(
        self, client: Client, informers: Informers, recorder: EventRecorder, provider: IdentityProvider,
        grace: timedelta,
    ) -> None:  # fmt: skip
        super().__init__(client, informers, recorder)
        self._provider, self._grace = provider, grace
        self._tenants = informers.of(Tenant)
        self._listed: dict[str, ExternalTenant] | None = None  # by id; None: not known yet
        self._tenants.on_change(self._tenant_changed)

    def _tenant_changed(self, key: Key, old: Tenant | None, new: Tenant | None) -> None:
        for tenant in (old, new):
            keystone = tenant.spec.identity.keystone if tenant is not None and tenant.spec.identity else None
            if keystone is not None and keystone.project_id:
                self.queue.add(_key(keystone.project_id))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run())
            group.create_task(self._poll())

    async def _poll(self) -> None:
        """Until cancelled."""
        pause = _POLL_SECONDS
        while True:
            if not self.informers.acts_on(SYSTEM_TENANT):
                await asyncio.sleep(_POLL_SECONDS)
                continue
            try:
                listed = {each.id: each for each in await self._provider.tenants()}
            except ProviderUnavailable as error:
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                log.warning("projects can't be listed", provider=self._provider.name, error=str(error), retry_in=pause)
            else:
                pause = _POLL_SECONDS
                former, self._listed = self._listed or {}, listed
                for id in former.keys() | listed.keys():
                    if former.get(id) != listed.get(id):
                        self.queue.add(_key(id))
            await asyncio.sleep(pause)

    async def reconcile(self, key: Key) -> float | None:
        if self._listed is None:
            return _POLL_SECONDS
        known = self._tenants.by_index("project", key.name)
        project = self._listed.get(key.name)
        if not known:
            return None if project is None or not project.enabled else await self._create(project)
        if project is None:
            try:
                project = await self._provider.tenant(key.name)
            except ProviderUnavailable as error:
                log.warning("a project can't be asked about", project=key.name, error=str(error))
                return _UNLISTED_SECONDS
        looks = [await self._keep(tenant, project) for tenant in known]
        again = [seconds for seconds in looks if seconds is not None]
        unlisted = project is not None and project.id not in self._listed
        return min(again, default=_UNLISTED_SECONDS if unlisted else None)

    async def _keep(self, tenant: Tenant, project: ExternalTenant | None) -> float | None:
        """Brings a tenant to what its project is; the seconds after which to look again."""
        if tenant.metadata.deletion_timestamp is not None:
            return None
        now = times.now()
        wanted = planned(tenant, project, now)
        if wanted is not tenant:
            self.recorder.event(tenant, "Normal", *_told(wanted, project))
            wanted = await self.client.update(wanted, tenant=SYSTEM_TENANT)
        left = grace_left(wanted, self._grace, now)
        if left is None or left > 0:
            return left
        try:
            await self.client.delete(
                Tenant, wanted.metadata.name or "", tenant=SYSTEM_TENANT, uid=wanted.metadata.uid
            )  # fmt: skip
        except StatusError as error:
            if error.reason != "Forbidden":
                raise
            self.recorder.event(tenant, "Warning", "DeletionRefused", error.message)
            return _REFUSED_SECONDS
        return None

    async def _create(self, project: ExternalTenant) -> float | None:
        for name in names(project):
            if name == SYSTEM_TENANT:
                continue
            try:
                await self.client.create(new_tenant(project, name), tenant=SYSTEM_TENANT)
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
                if await self._is_of(name, project):
                    return None  # made a moment ago; the cache will have it
            else:
                log.info("a project is a tenant now", project=project.id, tenant=name)
                return None
        log.warning("a project has no tenant: its names are taken", project=project.id, names=names(project))
        return _UNLISTED_SECONDS

    async def _is_of(self, name: str, project: ExternalTenant) -> bool:
        try:
            tenant = await self.client.get(Tenant, name, tenant=SYSTEM_TENANT)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return False
        identity = tenant.spec.identity
        return identity is not None and identity.keystone is not None and identity.keystone.project_id == project.id


def _told(tenant: Tenant, project: ExternalTenant | None) -> tuple[str, str]:
    """Reason and message of the event about a change."""
    reason = tenant.metadata.annotations.get(SUSPENDED_HERE)
    if reason is not None:
        return "ProjectGone" if project is None else "ProjectDisabled", f"suspended: its project is {reason}"
    return "ProjectChanged", f"follows its project {project.name if project is not None else ''}"


def _key(id: str) -> Key:
    return Key(SYSTEM_TENANT, "", id)
