"""Kinds that upstream serves, and asks not to use any more: each answer about them says so."""

from hypernetes.apiserver.routing import Route

_WARNINGS = {
    ("v1", "componentstatuses"): "v1 ComponentStatus is deprecated in v1.19+",
    ("v1", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}


def warnings(route: Route) -> list[str]:
    resource = route.resource
    if resource is None or route.verb not in resource.verbs:
        return []
    text = _WARNINGS.get((resource.api_version, resource.name))
    return [] if text is None else [text]
