"""What messages there are: their fields, how JSON names these, and the classes that the protobuf library makes of them.

Facts say number, name, label and type of each field. The names are JSON's, but for a few that Go's generator has spelt
anew, and for messages whose fields JSON writes as if they were their parent's.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from hypernetes.api import facts

META = "k8s.io.apimachinery.pkg.apis.meta.v1"
RUNTIME = "k8s.io.apimachinery.pkg.runtime"
_DISCOVERY = "k8s.io.api.apidiscovery.v2"
_PACKAGE = "facts"
_LIBRARY = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _LIBRARY.TYPE_BOOL, "bytes": _LIBRARY.TYPE_BYTES, "double": _LIBRARY.TYPE_DOUBLE,
    "int32": _LIBRARY.TYPE_INT32, "int64": _LIBRARY.TYPE_INT64, "string": _LIBRARY.TYPE_STRING,
}  # fmt: skip
# Kinds that have a message and no schema: (apiVersion, kind) -> message.
_WITHOUT_SCHEMA = {
    **{
        (f"meta.k8s.io/{version}", kind): f"{META}.{kind}"
        for version in ("v1", "v1beta1")
        for kind in ("PartialObjectMetadata", "PartialObjectMetadataList")
    },
    ("apidiscovery.k8s.io/v2", "APIGroupDiscoveryList"): f"{_DISCOVERY}.APIGroupDiscoveryList",
}
_UPSTREAM = ("io.k8s.api.", "io.k8s.apimachinery.", "io.k8s.apiextensions-apiserver.", "io.k8s.kube-aggregator.")


class Malformed(ValueError):
    """The bytes are no message of the kind."""


@dataclass(frozen=True, slots=True)
class Field:
    number: int
    name: str  # the message's
    key: str  # JSON's
    type: str  # a scalar, or a full message name; of a map's values
    repeated: bool = False
    map: bool = False
    inline: bool = False  # JSON writes its fields as its parent's

    @property
    def is_scalar(self) -> bool:
        return self.type in _SCALARS


@cache
def fields(message: str) -> tuple[Field, ...]:
    """The fields of a message; KeyError where there is no such message."""
    schema = facts.schemas().get(_schema_name(message), {})
    properties = schema.get("properties")
    keys = {_plain(key): key for key in properties or ()}
    found = []
    for number, name, label, type_ in facts.messages()[message]:
        of_map = label == "map"
        if of_map:
            type_ = type_.removeprefix("map<string,").removesuffix(">")
        full = type_ if type_ in _SCALARS else _full(type_, message)
        key = name if properties is None or name in properties else keys.get(_plain(name))
        inline = key is None and full not in _SCALARS
        found.append(Field(number, name, key or name, full, label == "repeated", of_map, inline))
    return tuple(found)


@cache
def message_class(message: str) -> type[Message]:
    """The library's class of a message, in which nested messages are bytes."""
    name = message.replace(".", "_")
    file = descriptor_pb2.FileDescriptorProto(name=name, package=_PACKAGE, syntax="editions")
    file.edition = descriptor_pb2.EDITION_2023  # presence is told, text is UTF-8
    file.options.features.repeated_field_encoding = descriptor_pb2.FeatureSet.EXPANDED  # as upstream writes numbers
    described = file.message_type.add(name=name)
    for field in fields(message):
        library_type = _SCALARS.get(field.type, _LIBRARY.TYPE_BYTES)
        if field.map:
            entry = described.nested_type.add(name=f"{field.name[:1].upper()}{field.name[1:]}Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, label=_LIBRARY.LABEL_OPTIONAL, type=_LIBRARY.TYPE_STRING)
            entry.field.add(name="value", number=2, label=_LIBRARY.LABEL_OPTIONAL, type=library_type)
            described.field.add(
                name=field.name, number=field.number, label=_LIBRARY.LABEL_REPEATED, type=_LIBRARY.TYPE_MESSAGE,
                type_name=f".{_PACKAGE}.{name}.{entry.name}",
            )  # fmt: skip
        else:
            label = _LIBRARY.LABEL_REPEATED if field.repeated else _LIBRARY.LABEL_OPTIONAL
            described.field.add(name=field.name, number=field.number, label=label, type=library_type)
    _POOL.Add(file)
    made: type[Message] = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
    return made


_POOL: Any = descriptor_pool.DescriptorPool()


def of_kind(api_version: str, kind: str) -> str | None:
    """The message of a kind; None where it has none."""
    return kinds().get((api_version, kind))


def has(api_version: str, kind: str) -> bool:
    """Whether objects of a kind can be written as a message."""
    return (api_version, kind) in kinds()


@cache
def kinds() -> dict[tuple[str, str], str]:
    """(apiVersion, kind) -> message."""
    found = dict(_WITHOUT_SCHEMA)
    for name, schema in facts.schemas().items():
        message = _message_name(name)
        if message not in facts.messages() or not name.startswith(_UPSTREAM):
            continue
        for gvk in schema.get("x-kubernetes-group-version-kind", ()):
            found["/".join(filter(None, (gvk["group"], gvk["version"]))), gvk["kind"]] = message
    return found


def _message_name(schema: str) -> str:
    return f"k8s.io.{schema.removeprefix('io.k8s.').replace('-', '_')}"


def _schema_name(message: str) -> str:
    first, _, rest = message.removeprefix("k8s.io.").partition(".")
    return f"io.k8s.{first.replace('_', '-')}.{rest}"


def _full(type_: str, message: str) -> str:
    """The full name of a type: another package's has a dot."""
    return type_.removeprefix(".") if "." in type_ else f"{message.rpartition('.')[0]}.{type_}"


def _plain(name: str) -> str:
    """`aPIGroup` and `apiGroup`, `xKubernetesMapType` and `x-kubernetes-map-type`, `ref` and `$ref` alike."""
    return name.lower().replace("-", "").removeprefix("$")
