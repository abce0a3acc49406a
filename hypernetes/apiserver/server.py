"""One running API server: its parts put together, its tasks, its socket, and how it stops."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import structlog

from hypernetes.api import times
from hypernetes.api.tenancy import DEFAULT_SERVICE_CIDR, SYSTEM_TENANT
from hypernetes.apiserver import follower as following
from hypernetes.apiserver import malformed, requestlog, sharedroles
from hypernetes.apiserver.aggregation.availability import Aggregation
from hypernetes.apiserver.aggregation.reaching import Reach
from hypernetes.apiserver.app import Application
from hypernetes.apiserver.audit.counts import Counts
from hypernetes.apiserver.audit.log import AuditLog
from hypernetes.apiserver.audit.options import AuditSettings
from hypernetes.apiserver.audit.recording import Auditor
from hypernetes.apiserver.audit.webhook import AuditWebhook
from hypernetes.apiserver.authn import Authenticator, Sources, TokenKeys, User
from hypernetes.apiserver.authn.frontproxy import FrontProxy
from hypernetes.apiserver.authn.localusers import LocalUsers
from hypernetes.apiserver.authn.tenantindex import TenantIndex
from hypernetes.apiserver.authz import Authorizer, NodeGraph, Rbac
from hypernetes.apiserver.claimrepair import ClaimRepair
from hypernetes.apiserver.connections import CLOSING_SECONDS, HANDSHAKE_SECONDS, Departures, Server
from hypernetes.apiserver.contents import Contents
from hypernetes.apiserver.dialer import Dialer
from hypernetes.apiserver.fairness import Fairness
from hypernetes.apiserver.follower import Follower
from hypernetes.apiserver.freshness import Freshness
from hypernetes.apiserver.handlers.context import Parts
from hypernetes.apiserver.health import Health
from hypernetes.apiserver.implied import Implications
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.legacytokens import LegacyTokens
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.objects import Objects
from hypernetes.apiserver.observing import Handle, Observer
from hypernetes.apiserver.reauthorization import Reauthorization
from hypernetes.apiserver.serving import ServingCertificate, own_addresses
from hypernetes.apiserver.signing import Signing
from hypernetes.apiserver.storage.base import Store
from hypernetes.apiserver.tenantledgers import TenantLedgers
from hypernetes.apiserver.tenantquota import TenantQuotas
from hypernetes.apiserver.tenantstatus import TenantStatuses
from hypernetes.apiserver.tenantusage import TenantUsage
from hypernetes.apiserver.watchers import Watchers
from hypernetes.pki import (
    APISERVER,
    FRONT_PROXY_CLIENT,
    KUBELET_CLIENT,
    HotContext,
    PkiDirectory,
    client_context,
    server_context,
)
from hypernetes.providers.identity.base import IdentityProvider

log = structlog.get_logger()

DRAIN_SECONDS = 5.0  # for requests under way when the server is told to stop
MAX_HEADER_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    cluster_id: str
    pki: PkiDirectory
    bind: str
    port: int  # 0: any free one
    tokens: Mapping[bytes, User] = field(default_factory=dict)  # static ones, by hash
    request_log: str = requestlog.SLOW
    front_proxy: FrontProxy | None = None
    allows_anonymous: Callable[[str], bool] | None = None  # by path
    identity_providers: Sequence[IdentityProvider] = ()  # in the order in which they are asked; opened here
    audit: AuditSettings | None = None  # None: nothing is recorded


def prepare_certificates(pki: PkiDirectory, bind: str) -> None:
    """Makes or renews what this server shows: to clients, and to the nodes' agents."""
    now = times.now()
    pki.ensure_authority(now)
    pki.ensure(APISERVER, now, addresses=own_addresses(bind))
    pki.ensure(KUBELET_CLIENT, now)
    pki.ensure(FRONT_PROXY_CLIENT, now)


@asynccontextmanager
async def running(settings: Settings, store: Store) -> AsyncIterator[int]:
    """A server that answers; gives its port. It drains and stops when the context ends.

    Raises OSError (port taken), and ConfigurationError of an identity provider.
    """
    pki = settings.pki
    keys, departures = Keys(settings.cluster_id), Departures()
    implied = Implications(keys, pki.authority.pem.decode(), pki.front_proxy_authority.pem.decode())
    mirror, watchers = Mirror(keys, implied=implied), Watchers()
    rbac, node_graph = Rbac(mirror), NodeGraph(mirror)
    objects, lookups = Objects(store, mirror, keys, implied), Lookups(mirror)
    freshness = Freshness(store, mirror)
    authorizer = Authorizer(rbac, node_graph, tenants_follow=bool(settings.identity_providers))
    usage = TenantUsage(mirror)
    signing = Signing(mirror, objects, lookups, authorizer, pki.authority, times.now)
    reauthorization = Reauthorization(authorizer)
    token_keys = TokenKeys(store, keys.root.rstrip("/"), mirror)
    kubelet_context = client_context(pki.ca_certificate, pki.certificate(KUBELET_CLIENT), pki.key(KUBELET_CLIENT))
    dialer = Dialer(kubelet_context)
    serving = server_context(pki.certificate(APISERVER), pki.key(APISERVER), pki.ca_certificate, require_client=False)
    if settings.front_proxy is not None:
        serving.load_verify_locations(settings.front_proxy.authority)
    serving.set_alpn_protocols(["h2", "http/1.1"])
    hot = HotContext(serving, pki.certificate(APISERVER), pki.key(APISERVER))
    shown = ServingCertificate(pki, hot, settings.bind)
    health = Health(store, mirror, token_keys, settings.cluster_id)
    audit_counts = Counts()
    audit_log, audit_webhook = _audit_sinks(settings.audit, audit_counts)
    auditor = _auditor(settings.audit, audit_counts, audit_log, audit_webhook)
    observer = Observer(mirror, settings.request_log, auditor)
    contents = Contents(store, mirror, keys, objects, shown, times.now)
    tenants, ledgers = TenantIndex(mirror, lookups), TenantLedgers(store, mirror, lookups)
    reach = Reach(mirror, dialer, pki.certificate(FRONT_PROXY_CLIENT), pki.key(FRONT_PROXY_CLIENT))
    aggregation = Aggregation(mirror, objects, reach, times.now)
    legacy_tokens = LegacyTokens(mirror, objects, lookups, token_keys, pki.authority.pem, times.now)
    observers: list[following.Observer] = [
        rbac, node_graph, signing, reauthorization, contents, usage, tenants, ledgers, legacy_tokens,
        aggregation,
    ]  # fmt: skip
    follower = Follower(store, mirror, watchers, observers)
    hot_client = HotContext(kubelet_context, pki.certificate(KUBELET_CLIENT), pki.key(KUBELET_CLIENT))
    async with AsyncExitStack() as opened, dialer, asyncio.TaskGroup() as tasks:
        owned = [tasks.create_task(follower.run(), name="follower"), tasks.create_task(hot.run()),
                 tasks.create_task(hot_client.run()), tasks.create_task(observer.log.run()),
                 tasks.create_task(freshness.run(), name="freshness")]  # fmt: skip
        owned += [tasks.create_task(sink.run(), name="audit") for sink in (audit_log, audit_webhook) if sink]
        try:
            for provider in settings.identity_providers:
                await provider.open()
                opened.push_async_callback(provider.close)
            await follower.loaded.wait()
            await contents.fill(SYSTEM_TENANT, DEFAULT_SERVICE_CIDR)
            await sharedroles.keep(objects, times.now)
            await shown.cover(lookups.service_cidrs())
            statuses = TenantStatuses(mirror, objects, usage, ledgers)
            repair = ClaimRepair(store, mirror, objects, lookups, times.now)
            runners = (contents, statuses, ledgers, signing, legacy_tokens, repair, reauthorization, aggregation)
            owned += [tasks.create_task(each.run(), name=type(each).__name__) for each in runners]
            local_users = LocalUsers(store, mirror, lookups)
            sources = Sources(settings.identity_providers, tenants)
            parts = Parts(
                settings.cluster_id, store, keys, mirror, freshness, watchers, objects, lookups,
                Authenticator(
                    settings.cluster_id, lookups, token_keys, settings.tokens, sources, local_users, freshness.now,
                    settings.front_proxy, pki.authority.pem,
                ),
                authorizer,
                token_keys, legacy_tokens, pki.authority, contents, dialer, departures, reauthorization,
                health, observer,
                TenantQuotas(mirror, usage), local_users, implied, Fairness(lookups), aggregation,
                settings.allows_anonymous,
            )  # fmt: skip
            handle = observer.observing(Application(parts).handle)
            async with _listening(handle, departures, watchers, settings, serving, health) as port:
                yield port
        finally:
            for task in owned:
                task.cancel()


def _audit_sinks(audit: AuditSettings | None, counts: Counts) -> tuple[AuditLog | None, AuditWebhook | None]:
    if audit is None:
        return None, None
    log = AuditLog(audit.file, counts, audit.mode) if audit.file is not None else None
    return log, AuditWebhook(audit.webhook, counts) if audit.webhook is not None else None


def _auditor(
    audit: AuditSettings | None, counts: Counts, file: AuditLog | None, webhook: AuditWebhook | None
) -> Auditor | None:
    if audit is None:
        return None
    return Auditor(audit.policy, counts, file, [webhook] if webhook is not None else [])


@asynccontextmanager
async def _listening(
    handle: Handle, departures: Departures, watchers: Watchers, settings: Settings, context: ssl.SSLContext,
    health: Health,
) -> AsyncIterator[int]:  # fmt: skip
    limits = {"max_line_size": MAX_HEADER_BYTES, "max_field_size": MAX_HEADER_BYTES}
    server = Server(handle, departures, logger=malformed.LOGGER, **limits)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        server, settings.bind, settings.port, ssl=context, backlog=1024, reuse_address=True,
        ssl_handshake_timeout=HANDSHAKE_SECONDS, ssl_shutdown_timeout=CLOSING_SECONDS,
    )  # fmt: skip
    sweeping = asyncio.create_task(server.sweep(), name="connections")
    port: int = listener.sockets[0].getsockname()[1]
    log.info("serving", bind=settings.bind, port=port)
    try:
        yield port
    finally:
        health.drain()
        listener.close()
        sweeping.cancel()
        watchers.end_all()
        await server.shutdown(DRAIN_SECONDS)
        log.info("stopped")
