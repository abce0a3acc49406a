"""Who asks, in the headers by which a front proxy says it (pure)."""

from collections.abc import Iterator
from urllib.parse import quote

from hypernetes.api.status import StatusError
from hypernetes.apiserver.authn.users import (
    AUTHENTICATED_GROUP,
    MASTERS_GROUP,
    User,
    service_account_groups,
    service_account_name,
)
from hypernetes.apiserver.authz.authorizer import CONTROLLERS_USER

Headers = list[tuple[str, str]]

# By this account, charts let upstream's autoscaling controller read metrics; so ours, which asks as no tenant's user.
_AUTOSCALER = "kube-system", "horizontal-pod-autoscaler"
_PROVIDER = "system:hypernetes:provider"
# For checks whether a server answers, as upstream.
AGGREGATOR: Headers = [("X-Remote-User", "system:kube-aggregator"), ("X-Remote-Group", MASTERS_GROUP)]


def headers(user: User, tenant: str) -> Headers:
    """Of a request to a server of `tenant`. Names mean something inside a tenant only: who comes from the provider's
    is told as that, and not by name. Raises StatusError 400 for what can't be said in a header."""
    found = list(_said(user, tenant))
    if any(not value.isprintable() for _, value in found):
        raise StatusError("BadRequest", "the user's name or groups can't be told to the server that is asked")
    return found


def _said(user: User, tenant: str) -> Iterator[tuple[str, str]]:
    if user.component and user.name == CONTROLLERS_USER:
        yield "X-Remote-User", service_account_name(*_AUTOSCALER)
        yield from (("X-Remote-Group", group) for group in service_account_groups(_AUTOSCALER[0]))
        yield "X-Remote-Group", AUTHENTICATED_GROUP
    elif user.tenant == tenant:
        yield "X-Remote-User", user.name
        if user.uid:
            yield "X-Remote-Uid", user.uid
        yield from (("X-Remote-Group", group) for group in user.groups)
        for key, values in user.extra.items():
            yield from ((f"X-Remote-Extra-{quote(key, safe='')}", value) for value in values)
    else:
        yield "X-Remote-User", _PROVIDER
        yield "X-Remote-Group", MASTERS_GROUP
        yield "X-Remote-Group", AUTHENTICATED_GROUP
