"""Network providers of third parties run in a process of their own: one that hangs, raises or exits ends nothing else.

    hn-controllers, hn-agent                           python -m hypernetes.providers.network.hosted.host
    HostedNetworkProvider ── questions (a socket) ──►  the provider of the entry point, on an event loop
                          ◄── answers, taps ─────────

`HostedNetworkProvider` has the interface of `base.py` and the promises that a provider must keep towards its callers,
whatever the one behind it does: each call ends within a deadline, with an answer or a NetworkError. Reasons of its own:
`ProviderFailed` (it raised something else), `ProviderSilent` (no answer in time; the call is cancelled there, and where
even that is ignored the process is ended), `ProviderExited` (it is started again, with back-off).
"""

from hypernetes.providers.network.hosted.provider import make

__all__ = ["make"]
