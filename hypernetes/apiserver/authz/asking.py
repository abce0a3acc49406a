"""What a request asks to do, for the authorizer to decide on."""

from hypernetes.api import selectors
from hypernetes.apiserver.authn.users import User
from hypernetes.apiserver.authz.attributes import Attributes
from hypernetes.apiserver.routing import Route

_ENTERING = frozenset({"attach", "exec", "portforward"})  # subresources that open a pod
_OF_MANY = frozenset({"list", "watch", "deletecollection"})


def needed(user: User, route: Route, field_selector: str = "") -> tuple[Attributes, ...]:
    """All that a request asks for, as its URL says."""
    asked = attributes(user, route, route.name, field_selector)
    if route.subresource in _ENTERING and route.verb == "get":
        # a WebSocket begins with a GET, and is no reading all the same: both are asked for, as upstream
        return asked, asked._replace(verb="create")
    return (asked,)


def attributes(user: User, route: Route, name: str, field_selector: str = "") -> Attributes:
    """`name` is of the URL, or for a create of the body once it is known."""
    resource = route.resource
    if resource is None:
        return Attributes(route.tenant or user.tenant, route.verb, path=route.path)
    # a namespace lies in itself: a binding inside it may allow to read it
    namespace = name if (resource.group, resource.name) == ("", "namespaces") else route.namespace
    if field_selector and not name and route.verb in _OF_MANY:
        name = _selected_name(field_selector)
    return Attributes(
        tenant=route.tenant or user.tenant, verb=route.verb, group=resource.group, resource=resource.name,
        subresource=route.subresource, namespace=namespace, name=name, field_selector=field_selector,
    )  # fmt: skip


def _selected_name(field_selector: str) -> str:
    """The one name that a list or watch is narrowed to, as clients do that may see one object only; else ""."""
    try:
        terms = selectors.parse_fields(field_selector)
    except ValueError:
        return ""  # the handler says what is wrong with it, to those who may ask
    return next((term.value for term in terms if term.path == "metadata.name" and not term.negated), "")
