"""The types of an OpenAPI document: those of facts/, with references that lead somewhere and with descriptions."""

from collections.abc import Iterable, Iterator
from typing import Any

from hypernetes.api import facts, scheme
from hypernetes.api.scheme import Resource

V2_ROOT, V3_ROOT = "#/definitions/", "#/components/schemas/"
# What v2 can't say of a type that is this or that; clients know these by name.
_V2_SCALARS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
}


def name_of(resource: Resource) -> str:
    """The type of a resource's objects."""
    return scheme.schema_name(resource.group, resource.version, resource.kind)


def schemas(resources: Iterable[Resource], *, v3: bool) -> dict[str, Any]:
    """The types of these resources, of lists of them, of their subresources, and all that they refer to."""
    known = facts.schemas()
    names = []
    for resource in resources:
        name = name_of(resource)
        names += [each for each in (name, f"{name}List") if each in known]
        names += [each for sub in resource.subresources.values() if (each := subresource_type(resource, sub.name))]
    return {name: _named(name, v3) for name in _closure(names)}


def subresource_type(resource: Resource, name: str) -> str | None:
    """The type that a subresource takes and gives; None for streams, which have none."""
    sub = resource.subresources[name]
    try:
        return scheme.schema_name(sub.group or resource.group, sub.version or resource.version, sub.kind)
    except KeyError:
        return None


def _named(name: str, v3: bool) -> dict[str, Any]:
    scalar = None if v3 else _V2_SCALARS.get(name)
    schema: dict[str, Any] = _schema(facts.schemas()[name], v3) if scalar is None else dict(scalar)
    texts = facts.descriptions().get(name)
    if texts:
        for field, text in texts.items():
            if not field:
                schema["description"] = text
            elif field in schema.get("properties", {}):
                schema["properties"][field] = _described(schema["properties"][field], text, v3)
    return schema


def _described(schema: dict[str, Any], text: str, v3: bool) -> dict[str, Any]:
    if v3 and "$ref" in schema:
        return {"description": text, "allOf": [schema]}
    return {"description": text, **schema}


def _closure(names: list[str]) -> list[str]:
    todo, found = list(names), set[str]()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _references(facts.schemas()[name])
    return sorted(found)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref" and isinstance(item, str):
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _schema(value: Any, v3: bool) -> Any:
    """A schema of facts/ with its references made relative to a document.

    Beside a `$ref` nothing counts in OpenAPI 3.0, so the reference goes into an `allOf` where there is more to say: a
    default, a description.
    """
    if isinstance(value, list):
        return [_schema(item, v3) for item in value]
    if not isinstance(value, dict):
        return value
    if not v3 and len(value.get("allOf", ())) == 1:  # which clients of v2 know as a reference only
        value = {**value["allOf"][0], **{key: item for key, item in value.items() if key != "allOf"}}
    reference = value.get("$ref")
    if not isinstance(reference, str):
        plain = {
            key: item if key == "default" else _schema(item, v3)
            for key, item in value.items()
            if key != "properties" and (v3 or key not in ("default", "oneOf"))
        }
        properties = value.get("properties")  # apart from the keywords: a field may well be called `default`
        if properties is not None:
            plain["properties"] = {name: _schema(item, v3) for name, item in properties.items()}
        return plain
    target = {"$ref": f"{V3_ROOT if v3 else V2_ROOT}{reference}"}
    rest = {key: item for key, item in value.items() if key != "$ref" and (v3 or key != "default")}
    return {"allOf": [target], **rest} if v3 and rest else {**target, **rest}
