"""Which addresses images may come from: an image's registry, its redirects, its token service are a tenant's choice."""

import aiohttp
from yarl import URL

from hypernetes import dialing
from hypernetes.nodeagent.images.manifests import ImageError

_PURPOSE = "images may come from"


class DialPolicy(dialing.Policy):
    """`trusted` are registries that may be spoken to in plain HTTP, too."""

    __slots__ = ()

    def check(self, url: URL) -> None:
        """Raises ImageError for a URL that must not be opened; host names are checked when resolved."""
        if self.trusts(url):
            return
        if url.scheme != "https" or not url.host:
            raise ImageError(f"refused to open {url.scheme}://{url.host}: only https, unless the node's operator lists "
                             "the registry as insecure")  # fmt: skip
        if not self.allows_url(url):
            raise ImageError(f"refused to connect to {url.host}: not an address that {_PURPOSE}")


def session(policy: DialPolicy) -> aiohttp.ClientSession:
    """See dialing.session."""
    return dialing.session(policy, _PURPOSE, auto_decompress=False, limit=16, limit_per_host=8)
