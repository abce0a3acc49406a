"""Whom to talk to and as whom, and the TLS context made of it; both follow their files when those are renewed."""

import os
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypernetes.client import kubeconfig

_CHECK_EVERY = 5.0  # seconds between two looks at the files


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """How to reach one API server. `reload` gives the present state of what it was made from, if it can change."""

    server: str  # https://host:port, possibly with a path
    ca_pem: bytes | None = field(default=None, repr=False)
    client_cert_pem: bytes | None = field(default=None, repr=False)
    client_key_pem: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    namespace: str | None = None
    timeout: float = 30.0  # seconds for one request, its retries included
    user_agent: str = "hypernetes"
    files: tuple[Path, ...] = ()
    reload: "Callable[[], ClientConfig] | None" = field(default=None, repr=False)

    @classmethod
    def from_kubeconfig(
        cls, path: str | os.PathLike[str], *, timeout: float = 30.0, user_agent: str = "hypernetes"
    ) -> "ClientConfig":
        """Raises KubeconfigError."""
        config = kubeconfig.read(path)
        return cls(
            server=config.server,
            ca_pem=config.ca_pem,
            client_cert_pem=config.client_cert_pem,
            client_key_pem=config.client_key_pem,
            token=config.token,
            namespace=config.namespace,
            timeout=timeout,
            user_agent=user_agent,
            files=config.files,
            reload=lambda: cls.from_kubeconfig(path, timeout=timeout, user_agent=user_agent),
        )


class Credentials:
    """The configuration as it is now. A new TLS context is made only when the files have changed."""

    def __init__(self, config: ClientConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config, self._clock = config, clock
        self._context = tls_context(config)
        self._stamp = _stamp(config.files)
        self._checked = clock()

    def current(self) -> tuple[ClientConfig, ssl.SSLContext | None]:
        if self._clock() - self._checked >= _CHECK_EVERY:
            self.refresh()
        return self._config, self._context

    def refresh(self) -> bool:
        """Looks at the files now; True if they have changed and were taken over.

        A renewal in progress (a certificate without its key) shows as an error here; what was good so far stays in use
        and the next look decides.
        """
        self._checked = self._clock()
        stamp = _stamp(self._config.files)
        if self._config.reload is None or stamp == self._stamp:
            return False
        try:
            config = self._config.reload()
            context = tls_context(config)
        except (kubeconfig.KubeconfigError, ssl.SSLError):
            return False
        self._config, self._context, self._stamp = config, context, stamp
        return True


def tls_context(config: ClientConfig) -> ssl.SSLContext | None:
    """None for a plain-HTTP server. Raises ssl.SSLError where certificate and key don't belong together."""
    if not config.server.startswith("https:"):
        return None
    context = ssl.create_default_context(cadata=config.ca_pem.decode() if config.ca_pem else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.client_cert_pem is not None and config.client_key_pem is not None:
        # The ssl module loads a key pair from a file only; this one lives for the length of the call, readable by us.
        with tempfile.NamedTemporaryFile() as file:
            file.write(config.client_cert_pem + b"\n" + config.client_key_pem)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _stamp(files: tuple[Path, ...]) -> tuple[tuple[int, int, int] | None, ...]:
    return tuple(_file_stamp(file) for file in files)


def _file_stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
