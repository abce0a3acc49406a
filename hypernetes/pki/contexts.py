"""TLS contexts that follow their files: a renewed certificate is used by the next connection, without a restart.

An `ssl.SSLContext` may be given a new chain while servers and clients use it. So each process keeps one context and a
`HotContext` beside it that looks at the files now and then. Connections that are open keep what they began with.
"""

import asyncio
import ssl
from pathlib import Path

import structlog

CHECK_INTERVAL_SECONDS = 10.0

log = structlog.get_logger()


def server_context(certificate: Path, key: Path, client_ca: Path, *, require_client: bool) -> ssl.SSLContext:
    """For a server. Without `require_client` a client may come with a token instead of a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def client_context(ca: Path, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """For a client that trusts the cluster's authority alone, and shows a certificate if it has one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


class HotContext:
    """Keeps a context's certificate as new as its files."""

    def __init__(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        self.context = context
        self._certificate, self._key = certificate, key
        self._loaded = self._versions()

    def reload(self) -> bool:
        """Loads the files if they changed since the last time; returns whether it did.

        A pair that can't be loaded (half of a renewal, a damaged file) leaves the context as it is, and is tried
        again at the next call.
        """
        versions = self._versions()
        if versions == self._loaded or None in versions:
            return False
        try:
            # Tried on a context of its own first: a failed load may leave a key without its certificate behind.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(self._certificate, self._key)
            self.context.load_cert_chain(self._certificate, self._key)
        except (OSError, ssl.SSLError) as error:
            log.warning("renewed certificate can't be loaded", file=str(self._certificate), error=str(error))
            return False
        self._loaded = versions
        log.info("certificate reloaded", file=str(self._certificate))
        return True

    async def run(self, interval: float = CHECK_INTERVAL_SECONDS) -> None:
        """Reloads whenever the files change; never ends by itself."""
        while True:
            await asyncio.sleep(interval)
            self.reload()

    def _versions(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_version(path) for path in (self._certificate, self._key))


def _version(path: Path) -> tuple[int, int] | None:
    """What changes with each replacement of a file; None while it isn't there."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns
