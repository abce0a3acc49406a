"""The certificate that clients see: it lists every address under which a tenant's pods know the API.

Tenants choose their service ranges, so a new one may bring an address that isn't listed yet. The certificate is then
issued again before the tenant is ready; connections that are open keep what they began with.
"""

import asyncio
import ipaddress
from collections.abc import Iterable

import structlog

from hypernetes.api import times
from hypernetes.api.tenancy import DEFAULT_SERVICE_CIDR, kubernetes_address
from hypernetes.pki import APISERVER, HotContext, PkiDirectory

log = structlog.get_logger()


def own_addresses(bind: str) -> list[str]:
    """Where a server is reached that listens on `bind`, whatever tenants there are."""
    addresses = ["127.0.0.1", "::1", kubernetes_address(DEFAULT_SERVICE_CIDR)]
    return addresses if ipaddress.ip_address(bind).is_unspecified else [*addresses, bind]


class ServingCertificate:
    """Run `context.run()` in a task: it takes up what others renew."""

    def __init__(self, pki: PkiDirectory, context: HotContext, bind: str) -> None:
        self.context = context
        self._pki = pki
        self._listed = dict.fromkeys(own_addresses(bind))
        self._issuing = asyncio.Lock()

    async def cover(self, service_cidrs: Iterable[str]) -> None:
        """Returns when new connections see a certificate with the `kubernetes` address of each range.

        Raises OSError, CertificateError.
        """
        wanted = dict.fromkeys(map(kubernetes_address, service_cidrs))
        async with self._issuing:
            if wanted.keys() <= self._listed.keys():
                return
            listed = {**self._listed, **wanted}
            issued = await asyncio.to_thread(self._issue, listed)
            self._listed = listed
            if issued:
                self.context.reload()
                log.info("the serving certificate lists more addresses", addresses=list(wanted))

    def _issue(self, addresses: Iterable[str]) -> bool:
        # who started the server may have listed addresses of the machine that it doesn't know
        listed = dict.fromkeys([*addresses, *self._pki.addresses(APISERVER)])
        return self._pki.ensure(APISERVER, times.now(), addresses=listed)
