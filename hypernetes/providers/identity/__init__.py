"""Where people and their tenants come from, other than the cluster itself: one interface, found by entry point.

    base.py   the interface; `tests/unit/providers/identity/suite.py` holds every provider to it

hn-apiserver asks a provider whose a bearer token is; it knows no provider by more than `base`, and remembers what one
said (`apiserver/authn/sources.py`). What the cluster knows by itself (certificates, service accounts, local users)
needs no provider.
"""
