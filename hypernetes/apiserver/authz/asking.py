"""What a request asks to do, for the authorizer to decide on."""

from hypernetes.apiserver.authn.users import User
from hypernetes.apiserver.authz.attributes import Attributes
from hypernetes.apiserver.routing import Route


def attributes(user: User, route: Route, name: str, field_selector: str = "") -> Attributes:
    """`name` is of the URL, or for a create of the body once it is known."""
    resource = route.resource
    if resource is None:
        return Attributes(route.tenant or user.tenant, route.verb, path=route.path)
    # a namespace lies in itself: a binding inside it may allow to read it
    namespace = name if (resource.group, resource.name) == ("", "namespaces") else route.namespace
    return Attributes(
        tenant=route.tenant or user.tenant, verb=route.verb, group=resource.group, resource=resource.name,
        subresource=route.subresource, namespace=namespace, name=name, field_selector=field_selector,
    )  # fmt: skip
