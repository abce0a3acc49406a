"""What no event tells, whatever the policy says (pure): secrets' values, tokens, passwords.

Of these resources no body is recorded, in either direction, nor what an error says of it: a patch, a form that is
added later or a mistake in a value can't slip through. Their metadata (who, which object, what code) is, of course.
"""

from hypernetes.apiserver.routing import Route

# (group, resource, subresource); "*": each of them
_HIDDEN = frozenset({
    ("", "secrets", "*"),
    ("", "serviceaccounts", "token"),
    ("authentication.k8s.io", "tokenreviews", "*"),
    ("hypernetes.io", "users", "*"),
})  # fmt: skip


def is_hidden(route: Route | None) -> bool:
    if route is None or route.resource is None:
        return False
    group, name = route.resource.group, route.resource.name
    return (group, name, "*") in _HIDDEN or (group, name, route.subresource) in _HIDDEN


def uri(raw: str, route: Route | None) -> str:
    """A request's path and query; what a proxied one says is between the client and the pod."""
    if route is None or route.subresource != "proxy":
        return raw
    return raw.partition("?")[0].removesuffix(route.rest)
