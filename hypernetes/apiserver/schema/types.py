"""Compiles schemas into closures: one that decodes (checks types, prunes, canonicalises), one that fills in defaults,
and one that validates.

What decoding drops follows upstream's encoder, so that equal objects have equal bytes: null, empty optional lists, maps
and strings, and the zeros of `zeros.UNSET_WHEN_ZERO`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from hypernetes.api import facts
from hypernetes.apiserver import validation
from hypernetes.apiserver.schema import scalars, zeros
from hypernetes.apiserver.schema.scalars import Decode, Path, Problems

Default = Callable[[Any], None]
Validate = Callable[[Any, str, validation.Causes], None]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_SPECIAL: dict[str, tuple[str, Decode]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ("quantity", scalars.quantity_text),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ("int-or-string", scalars.int_or_string),
    "io.k8s.apimachinery.pkg.runtime.RawExtension": ("any", lambda value, path, problems: value),
    f"{_META}Time": ("time", scalars.timestamp),
    f"{_META}MicroTime": ("time", scalars.micro_timestamp),
}
_MANAGED_FIELDS = "meta.v1.ObjectMeta.managedFields"
_PYTHON_TYPES = {"string": str, "boolean": bool}
_ZEROS: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}
_MISSING: tuple[Any, ...] = (None, "", [], {})
_MISSING_OBJECT = (None,)  # an empty object is there: what it lacks is for its own fields to say
_FILLED_BY_DECODER = frozenset({"time", "int-or-string"})  # their absence is for a kind's own validation to judge


class Type:
    """A compiled schema: of a kind, or of one field of a type.

    `kind` is object (with `fields`), map or list (with `item`), any, or the name of a scalar. The list attributes are
    upstream's extensions, for patches and for server-side apply. An `atomic` list, map or object is owned as a whole.
    """

    __slots__ = (
        "always", "atomic", "constants", "decode", "default", "fields", "item", "kind", "list_keys", "list_type",
        "merge_key", "name", "patch_strategies", "validate",
    )  # fmt: skip

    def __init__(self, kind: str, name: str = "") -> None:
        self.kind = kind
        self.name = name
        self.fields: dict[str, Type] = {}
        self.constants: dict[str, Any] = {}  # defaults of fields, as the schema has them
        self.always: dict[str, Any] = {}  # fields that upstream's encoder writes of an object in which nothing is said
        self.atomic = False
        self.item: Type | None = None
        self.list_type = ""
        self.list_keys: tuple[str, ...] = ()
        self.merge_key = ""
        self.patch_strategies: frozenset[str] = frozenset()
        self.decode: Decode = _anything
        self.default: Default | None = None
        self.validate: Validate | None = None


@cache
def named(name: str) -> Type:
    """The type of that full name in facts/; recursive types refer to themselves."""
    return _Compiler().named(name)


class _Compiler:
    """Compiles a type and those it refers to. A type under way is known by name, so that recursion ends."""

    def __init__(self) -> None:
        self._types: dict[str, Type] = {}

    def named(self, name: str) -> Type:
        if name in _SPECIAL:
            special = Type(_SPECIAL[name][0], name)
            special.decode = _SPECIAL[name][1]
            return special
        if name not in self._types:
            schema = facts.schemas()[name]
            if "properties" in schema:
                built = self._types[name] = Type("object", name)
                built.atomic = _is_atomic(schema)
                _Object(built, schema, self).compile()
            else:
                self._types[name] = self.inline(schema, name)
        return self._types[name]

    def inline(self, schema: facts.Schema, where: str) -> Type:
        """The type of a property, list item or map value; `where` names it in the tables of `zeros`."""
        reference = schema.get("$ref") or next(
            (part["$ref"] for part in schema.get("allOf", ()) if "$ref" in part), None
        )
        if reference:
            return self.named(reference)
        kind = schema.get("type", "any")
        if kind == "array":
            return self._list(schema, where)
        if kind == "object":
            return self._map(schema, where)
        built = Type(kind, where)
        built.decode = _scalar(kind, schema.get("format", ""))
        return built

    def _list(self, schema: facts.Schema, where: str) -> Type:
        built = Type("list", where)
        item = built.item = self.inline(schema.get("items", {}), where)
        built.list_type = schema.get("x-kubernetes-list-type", "atomic")
        built.atomic = built.list_type == "atomic"
        built.list_keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
        built.merge_key = schema.get("x-kubernetes-patch-merge-key", "")
        built.patch_strategies = frozenset(filter(None, schema.get("x-kubernetes-patch-strategy", "").split(",")))
        built.decode = _decode_list(item)
        built.default = _each(item, lambda value: value)
        built.validate = _validate_list(item, built, where in zeros.DUPLICATES_ALLOWED)
        return built

    def _map(self, schema: facts.Schema, where: str) -> Type:
        values = schema.get("additionalProperties")
        if not isinstance(values, dict):
            built = Type("any", where)
            built.decode = _any_object
            return built
        built = Type("map", where)
        built.atomic = _is_atomic(schema)
        item = built.item = self.inline(values, where)
        built.patch_strategies = frozenset(filter(None, schema.get("x-kubernetes-patch-strategy", "").split(",")))
        built.decode = _decode_map(item)
        built.default = _each(item, lambda value: value.values())
        built.validate = _validate_map(item)
        return built


class _Object:
    """Compiles one type with properties."""

    def __init__(self, built: Type, schema: facts.Schema, compiler: _Compiler) -> None:
        self._type, self._schema, self._compiler = built, schema, compiler
        self._required = frozenset(schema.get("required", ()))
        self._short = built.name.removeprefix("io.k8s.api.").removeprefix("io.k8s.apimachinery.pkg.apis.")

    def compile(self) -> None:
        # key -> (the Python type that needs no further look or None, decoder, whether an empty value is dropped)
        table: dict[str, tuple[type | None, Decode, bool]] = {}
        for key, schema in self._schema["properties"].items():
            where = f"{self._short}.{key}"
            field = self._compiler.inline(schema, where)
            if field.kind == "object" and "x-kubernetes-patch-strategy" in schema:
                field = _with(field, patch_strategies=frozenset(schema["x-kubernetes-patch-strategy"].split(",")))
            if field.kind == "object" and "x-kubernetes-map-type" in schema:
                field = _with(field, atomic=_is_atomic(schema))
            self._type.fields[key] = field
            self._note_values(key, field, where)
            plain = _PYTHON_TYPES.get(field.kind) if field.decode in (scalars.string, scalars.boolean) else None
            table[key] = (plain, _late(field), self._dropped_when_empty(key, field, where))
        self._type.decode = _decode_object(table)
        self._type.default = self._defaults()
        self._type.validate = self._validations()

    def _note_values(self, key: str, field: Type, where: str) -> None:
        """What upstream's types hold of a field by themselves, for server-side apply."""
        schema = self._schema["properties"][key]
        default = schema.get("default")
        if default is not None and default != {}:
            self._type.constants[key] = default
        if default == {}:
            self._type.always[key] = {}
        elif where in zeros.NULL_WHEN_UNSET:
            self._type.always[key] = None
        elif key in self._required:
            self._type.always[key] = _ZEROS.get(field.kind)
        elif where in zeros.ZERO_DEFAULT_IS_WRITTEN:
            self._type.always[key] = default

    def _dropped_when_empty(self, key: str, field: Type, where: str) -> bool:
        if where == _MANAGED_FIELDS:
            return False  # an empty list is an order to forget who manages what
        if key in self._required and where not in zeros.NULL_WHEN_UNSET:
            return field.kind == "time"
        if field.kind == "string":
            return where not in zeros.EMPTY_STRING_IS_A_VALUE
        if field.kind in ("integer", "number", "boolean"):
            return where in zeros.UNSET_WHEN_ZERO
        return field.kind in ("list", "map", "time")

    def _defaults(self) -> Default:
        values: list[tuple[str, Any]] = []  # key, immutable default
        structs: list[str] = []  # keys whose default is {}
        for key, schema in self._schema["properties"].items():
            where = f"{self._short}.{key}"
            if where in zeros.NULL_WHEN_UNSET:
                values.append((key, None))
            if "default" not in schema:
                continue
            default = schema["default"]
            if default == {}:
                structs.append(key)
            elif key in self._required or default or where in zeros.ZERO_DEFAULT_IS_WRITTEN:
                values.append((key, default))
        return _default_object(values, structs, self._type.fields)

    def _validations(self) -> Validate:
        required = [
            (key, _MISSING_OBJECT if self._type.fields[key].kind == "object" else _MISSING)
            for key in self._schema["properties"]
            if key in self._required
            and "default" not in self._schema["properties"][key]
            and f"{self._short}.{key}" not in zeros.REQUIRED_BY_NAME_ONLY
            and self._type.fields[key].kind not in _FILLED_BY_DECODER
            and f"{self._short}.{key}" not in zeros.NULL_WHEN_UNSET
        ]
        return _validate_object(required, self._type.fields)


def _late(field: Type) -> Decode:
    """The field's decoder; looked up when called where the type is still being compiled (recursion)."""
    if field.kind == "object" and field.decode is _anything:
        return lambda value, path, problems: field.decode(value, path, problems)
    return field.decode


def _with(field: Type, **own: Any) -> Type:
    """A copy of a shared type, for a field that has patch strategies or ownership of its own."""
    copy = Type(field.kind, field.name)
    for slot in Type.__slots__:
        setattr(copy, slot, own.get(slot, getattr(field, slot)))
    return copy


def _is_atomic(schema: facts.Schema) -> bool:
    return schema.get("x-kubernetes-map-type") == "atomic"


def _scalar(kind: str, form: str) -> Decode:
    if kind == "string":
        return scalars.base64_bytes if form == "byte" else scalars.string
    if kind == "integer":
        return scalars.integer(32 if form == "int32" else 64)
    return {"boolean": scalars.boolean, "number": scalars.number}.get(kind, _anything)


def _anything(value: Any, path: Path, problems: Problems) -> Any:
    return value


def _any_object(value: Any, path: Path, problems: Problems) -> Any:
    if type(value) is dict:
        return value
    raise scalars.wrong(value, path, "object")


def _decode_object(table: dict[str, tuple[type | None, Decode, bool]]) -> Decode:
    find = table.get

    def decode(value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not dict:
            raise scalars.wrong(value, path, "object")
        out: dict[str, Any] = {}
        for key, item in value.items():
            entry = find(key)
            if entry is None:
                problems.unknown.append((path, key))
                continue
            if item is None:
                continue
            plain, decode_item, dropped = entry
            if type(item) is not plain:
                item = decode_item(item, (path, key), problems)
            if item or not dropped:
                out[key] = item
        return out

    return decode


def _decode_list(item: Type) -> Decode:
    decode_item = _late(item)
    zero = _ZEROS.get(item.kind, {})

    def decode(value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not list:
            raise scalars.wrong(value, path, "array")
        return [
            decode_item(zero if entry is None else entry, (path, index), problems) for index, entry in enumerate(value)
        ]

    return decode


def _decode_map(item: Type) -> Decode:
    decode_item = _late(item)
    zero = _ZEROS.get(item.kind, "0" if item.kind == "quantity" else {})

    def decode(value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not dict:
            raise scalars.wrong(value, path, "object")
        return {
            key: decode_item(zero if entry is None else entry, (path, key), problems) for key, entry in value.items()
        }

    return decode


def _each(item: Type, entries: Callable[[Any], Any]) -> Default | None:
    if item.kind not in ("object", "list", "map"):
        return None

    def default(value: Any) -> None:
        apply = item.default
        if apply is not None:
            for entry in entries(value):
                apply(entry)

    return default


def _default_object(values: list[tuple[str, Any]], structs: list[str], fields: dict[str, Type]) -> Default:
    nested = {key: field for key, field in fields.items() if field.kind in ("object", "list", "map")}

    def default(value: Any) -> None:
        for key in structs:
            if key not in value:
                value[key] = {}
        for key, constant in values:
            if key not in value:
                value[key] = constant
        for key, item in value.items():
            field = nested.get(key)
            if field is not None and field.default is not None and item is not None:
                field.default(item)

    return default


def _validate_object(required: list[tuple[str, tuple[Any, ...]]], fields: dict[str, Type]) -> Validate:
    nested = {key: field for key, field in fields.items() if field.kind in ("object", "list", "map")}

    def validate(value: Any, path: str, causes: validation.Causes) -> None:
        for key, missing in required:
            if value.get(key) in missing:
                causes += validation.required(f"{path}.{key}" if path else key)
        for key, item in value.items():
            field = nested.get(key)
            if item and field is not None and field.validate is not None:
                field.validate(item, f"{path}.{key}" if path else key, causes)

    return validate


def _validate_list(item: Type, built: Type, duplicates_allowed: bool) -> Validate:
    keys = built.list_keys if built.list_type == "map" and not duplicates_allowed else ()
    is_set = built.list_type == "set" and not duplicates_allowed
    nested = item.kind in ("object", "list", "map")

    def validate(value: Any, path: str, causes: validation.Causes) -> None:
        if len(value) > 1 and keys:
            causes += _duplicate_keys(value, keys, path)
        elif len(value) > 1 and is_set:
            seen: set[Any] = set()
            for index, entry in enumerate(value):
                if entry in seen:
                    causes += validation.duplicate(f"{path}[{index}]", entry)
                seen.add(entry)
        if nested and item.validate is not None:
            for index, entry in enumerate(value):
                item.validate(entry, f"{path}[{index}]", causes)

    return validate


def _duplicate_keys(value: list[Any], keys: tuple[str, ...], path: str) -> validation.Causes:
    causes: validation.Causes = []
    seen: set[tuple[Any, ...]] = set()
    for index, entry in enumerate(value):
        key = tuple(entry.get(name) for name in keys)
        if key in seen:
            only = len(keys) == 1
            at = f"{path}[{index}].{keys[0]}" if only else f"{path}[{index}]"
            causes += validation.duplicate(at, key[0] if only else "/".join(map(str, key)))
        seen.add(key)
    return causes


def _validate_map(item: Type) -> Validate | None:
    if item.kind not in ("object", "list", "map"):
        return None

    def validate(value: Any, path: str, causes: validation.Causes) -> None:
        if item.validate is not None:
            for key, entry in value.items():
                item.validate(entry, f"{path}[{key}]", causes)

    return validate
