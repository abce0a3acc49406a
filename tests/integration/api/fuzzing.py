"""What hypothesis makes of the API's own descriptions: objects, protobuf messages, patches, selectors, queries, paths.

Most of what is made is nearly right: what is plainly wrong gets no further than the parser.
"""

import base64
import os
import secrets
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from hypernetes.api import facts, scheme
from hypernetes.api.scheme import Resource

SEED_VARIABLE = "FUZZ_SEED"  # in the environment: the seed of a run, to repeat it
SEED = int(os.environ.get(SEED_VARIABLE) or secrets.randbelow(2**32))
SETTINGS = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False)

_RECORDINGS = Path(__file__).parent / "recordings"
_DEPTH = 7  # of generated objects, below their kind
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_WORDS = (
    "", "a", "web", "A", "é", "a b", "a/b", "-", "x" * 64, "x" * 300, "\x00", "default", "kube-system",
    "system:masters", "*", "0", "-1", "1", "80", "http", "1Gi", "100m", "1e400", "25%", "101%", "10.0.0.1", "::1",
    "::ffff:1.2.3.4", "10.0.0.0/8", "example.com", "*.example.com", "example.com/name", "/", "/x", "../x",
    "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "*/5 * * * *",
    "TZ=Mars/Base * * * * *", "@every 1s", "cpu", "memory", "pods", "requests.storage", "count/secrets", "Always",
    "IfNotPresent", "OnFailure", "Never", "TCP", "UDP", "SCTP", "ClusterIP", "NodePort", "ExternalName",
    "LoadBalancer", "None", "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "RollingUpdate", "Recreate",
    "OnDelete", "Parallel", "Indexed", "Retain", "Delete", "Filesystem", "Block", "ReadWriteOnce", "Utilization",
    "AverageValue", "Value", "Resource", "Pods", "Object", "External", "ContainerResource", "Exact", "Prefix",
    "Opaque", "kubernetes.io/tls", "NoSchedule", "NoExecute", "Equal", "DoNotSchedule", "ClusterFirst", "Localhost",
    "RuntimeDefault", "IPv4", "IPv6", "PreferDualStack", "Allow", "Deny", "Forbid", "Replace", "Container", "Pod",
    "Warning", "Normal", "v1",
)  # fmt: skip
_NUMBERS = (-(2**63), -(2**31), -1, 0, 1, 2, 80, 8080, 65535, 65536, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63)

words = st.sampled_from(_WORDS)
texts = words | st.text(max_size=12)
numbers = st.sampled_from(_NUMBERS) | st.integers(-(2**63), 2**64 - 1)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def creatable() -> list[Resource]:
    """What may be created by a POST to a collection, tenants aside."""
    return [each for each in scheme.served() if "create" in each.verbs and each.name != "tenants"]


@st.composite
def objects(draw: st.DrawFn, resource: Resource) -> dict[str, Any]:
    """An object of a kind; now and then a value in it is of a wrong type."""
    name = scheme.schema_name(resource.group, resource.version, resource.kind)
    body = draw(_values({"$ref": name}, _DEPTH))
    made = body if isinstance(body, dict) else {}
    metadata = {"name": draw(st.sampled_from(["fuzzed", "a", "10.9.8.7", "10.1.0.0-24"]))}
    if draw(st.integers(0, 3)) == 0 and isinstance(made.get("metadata"), dict):
        metadata = {**made["metadata"], **metadata}
    return {**made, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


@cache
def recorded() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Objects that upstream took, by apiVersion and kind."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for file in sorted(_RECORDINGS.glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            for step in orjson.loads(line)["steps"]:
                body = step.get("body")
                if step["method"] == "POST" and step["expect"]["status"] == 201 and isinstance(body, dict):
                    found.setdefault((body.get("apiVersion", ""), body.get("kind", "")), []).append(body)
    return found


@st.composite
def plausible(draw: st.DrawFn, resource: Resource) -> dict[str, Any]:
    """An object that upstream took, as it is or with a little that is odd in it."""
    known = recorded().get((resource.api_version, resource.kind))
    if not known:
        return draw(objects(resource))
    obj = orjson.loads(orjson.dumps(draw(st.sampled_from(known))))
    name = draw(st.sampled_from(["fuzzed", "a", "10.9.8.7", "10.1.0.0-24"]))
    obj["metadata"] = {key: value for key, value in obj.get("metadata", {}).items() if key in ("labels", "annotations")}
    obj["metadata"]["name"] = name
    other = draw(objects(resource)) if draw(st.booleans()) else {}
    for key in ("spec", "data", "webhooks", "rules"):
        if isinstance(other.get(key), dict) and isinstance(obj.get(key), dict):
            obj[key] |= other[key]
    for _ in range(draw(st.integers(0, 2))):
        draw(_oddity(obj))
    return obj


@st.composite
def _oddity(draw: st.DrawFn, value: Any) -> None:
    """Replaces one value, somewhere below."""
    keys = sorted(value) if isinstance(value, dict) else list(range(len(value)))
    key = draw(st.sampled_from([each for each in keys if each not in ("apiVersion", "kind", "metadata")] or keys))
    inner = value[key]
    if isinstance(inner, dict | list) and inner and draw(st.integers(0, 3)):
        draw(_oddity(inner))
    elif isinstance(inner, list) and draw(st.booleans()):
        inner.extend(inner[:1])
    else:
        like: st.SearchStrategy[Any] = numbers if isinstance(inner, int) else texts
        value[key] = draw(like if luckily(draw) else anything)


@st.composite
def _values(draw: st.DrawFn, schema: facts.Schema, depth: int) -> Any:
    luck = draw(st.integers(0, 59))
    if luck == 0:
        return draw(anything)
    reference = schema.get("$ref") or next((each["$ref"] for each in schema.get("allOf", ()) if "$ref" in each), None)
    if reference is not None:
        if reference in (f"{_META}Time", f"{_META}MicroTime"):
            return draw(st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z", None]) | words)
        return draw(_values(facts.schemas()[reference], depth))
    if "properties" in schema:
        return draw(_structs(schema, depth))
    kind, form = schema.get("type"), schema.get("format")
    if kind == "array":
        return draw(st.lists(_values(schema.get("items", {}), depth - 1), max_size=2 if depth > 0 else 0))
    if kind == "object":
        values = schema.get("additionalProperties")
        inner = _values(values, depth - 1) if isinstance(values, dict) else anything
        return draw(st.dictionaries(words, inner, max_size=2))
    if form == "int-or-string":
        return draw(st.sampled_from(_NUMBERS) | words)
    if form == "byte":
        return draw(st.binary(max_size=20).map(lambda data: base64.b64encode(data).decode()))
    return draw(
        {"boolean": st.booleans(), "integer": numbers, "number": numbers, "string": texts}.get(str(kind), anything)
    )


@st.composite
def _structs(draw: st.DrawFn, schema: facts.Schema, depth: int) -> dict[str, Any]:
    properties, required = schema["properties"], schema.get("required", ())
    chosen = draw(st.sets(st.sampled_from(sorted(properties)), max_size=4 if depth > 0 else 0))
    names = {*(each for each in required if luckily(draw)), *chosen} if depth > -3 else ()
    return {
        name: draw(_values(properties[name], depth - 1)) for name in sorted(names) if name not in ("kind", "apiVersion")
    }


_elements = st.sampled_from(["f:metadata", "f:spec", "f:data", "f:status", ".", 'k:{"name":"a"}', "v:1", "i:0"]) | words
_fields = st.recursive(
    st.just({}) | anything, lambda inner: st.dictionaries(_elements, inner, max_size=3), max_leaves=8
)  # fmt: skip
managers = anything | st.lists(
    st.fixed_dictionaries(
        {
            "operation": st.sampled_from(["Update", "Apply", "x"]),
            "apiVersion": st.sampled_from(["v1", "apps/v1", "autoscaling/v1", "events.k8s.io/v1", "x/y"]),
        },
        optional={"manager": words, "fieldsType": st.just("FieldsV1"), "fieldsV1": _fields, "subresource": words},
    ),
    max_size=4,
)


def luckily(draw: st.DrawFn) -> bool:
    """True nearly always."""
    return draw(st.integers(0, 19)) > 0


@st.composite
def patches(draw: st.DrawFn, resource: Resource) -> tuple[str, bytes]:
    """A content type and a patch that may fit an object of the kind."""
    kind = draw(st.sampled_from(["merge-patch", "strategic-merge-patch", "json-patch"]))
    made: Any = draw(plausible(resource))
    if kind == "json-patch":
        made = draw(st.lists(_operations(made), max_size=4))
    else:
        made.pop("metadata")
        if kind == "strategic-merge-patch" and draw(st.booleans()):
            draw(_with_directives(made))
    return f"application/{kind}+json", orjson.dumps(made)


@st.composite
def _operations(draw: st.DrawFn, like: Any) -> dict[str, Any]:
    pointers = st.sampled_from(sorted(_pointers(like, "", 4))) | st.lists(words, max_size=3).map("/".join)
    return {
        "op": draw(st.sampled_from(["add", "remove", "replace", "test", "move", "copy", "explode"])),
        "path": draw(pointers), "from": draw(pointers), "value": draw(anything),
    }  # fmt: skip


def _pointers(value: Any, path: str, depth: int) -> set[str]:
    found = {path}
    if isinstance(value, dict) and depth:
        for key, each in value.items():
            found |= _pointers(each, f"{path}/{key}", depth - 1)
    elif isinstance(value, list) and depth:
        found |= {f"{path}/-", f"{path}/0", f"{path}/-1", f"{path}/99999999999"}
        for each in value[:1]:
            found |= _pointers(each, f"{path}/0", depth - 1)
    return found


@st.composite
def _with_directives(draw: st.DrawFn, value: Any) -> None:
    """Puts directives into a strategic merge patch."""
    if isinstance(value, dict):
        for key, each in list(value.items()):
            draw(_with_directives(each))
            if isinstance(each, list) and draw(st.booleans()):
                value[f"{draw(st.sampled_from(['$setElementOrder', '$deleteFromPrimitiveList']))}/{key}"] = draw(
                    st.just(each) | st.lists(anything, max_size=2)
                )
        if draw(st.integers(0, 3)) == 0:
            value[draw(st.sampled_from(["$patch", "$retainKeys"]))] = draw(
                st.sampled_from(["replace", "delete", "merge", "explode", ["name"], [], None, {}])
            )
    elif isinstance(value, list):
        for each in value:
            draw(_with_directives(each))


@st.composite
def protobufs(draw: st.DrawFn, resource: Resource) -> bytes:
    """A body in protobuf's form: well-formed but for a bit here and there."""
    schema = scheme.schema_name(resource.group, resource.version, resource.kind)
    message = schema.removeprefix("io.") if schema.startswith("io.k8s.") else ""
    raw = draw(_messages(message, 5)) if message in facts.messages() else draw(st.binary(max_size=30))
    meta = _chunk(1, resource.api_version.encode()) + _chunk(2, resource.kind.encode())
    body = b"k8s\x00" + _chunk(1, meta) + _chunk(2, raw)
    if luckily(draw):
        return body
    at = draw(st.integers(0, len(body) - 1))
    return body[:at] + draw(st.binary(max_size=3)) + body[at + 1 :]


@st.composite
def _messages(draw: st.DrawFn, name: str, depth: int) -> bytes:
    fields = facts.messages().get(name, [])
    chosen = draw(st.lists(st.sampled_from(fields), max_size=4)) if fields and depth else []
    parts = []
    for number, _, _, kind in chosen:
        if kind.startswith("map<"):
            value = kind[4:-1].partition(",")[2]
            entry = _chunk(1, draw(words).encode()) + draw(_field(2, value, depth))
            parts.append(_chunk(number, entry))
        else:
            parts.append(draw(_field(number, kind, depth)))
    return b"".join(parts)


@st.composite
def _field(draw: st.DrawFn, number: int, kind: str, depth: int) -> bytes:
    if kind in ("int32", "int64", "uint32", "uint64", "bool"):
        return _varint(number << 3) + _varint(draw(numbers) % 2**64)
    if kind == "double":
        return _varint(number << 3 | 1) + draw(st.binary(min_size=8, max_size=8))
    if kind == "string":
        encoded = texts.map(lambda text: text.encode("utf-8", "replace"))
        return _chunk(number, draw(encoded | st.binary(max_size=8)))
    if kind == "bytes":
        return _chunk(number, draw(st.binary(max_size=20)))
    return _chunk(number, draw(_messages(kind, depth - 1)))


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def _chunk(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


_selectors = st.lists(
    st.sampled_from(["a", "app", "x/y", "metadata.name", "spec.nodeName", "status.phase", "in", "notin", "=", "==",
                     "!=", "!", ",", "(", ")", ">", "<", "1", " ", "\\", "é", "\x00"]),
    max_size=8,
).map("".join)  # fmt: skip
_parameters: dict[str, st.SearchStrategy[str]] = {
    "labelSelector": _selectors, "fieldSelector": _selectors,
    "limit": numbers.map(str) | words, "resourceVersion": numbers.map(str) | words,
    "resourceVersionMatch": st.sampled_from(["Exact", "NotOlderThan", "", "x"]), "continue": texts,
    "watch": st.sampled_from(["false", "0"]), "sendInitialEvents": st.sampled_from(["true", "false", "x"]),
    "includeObject": st.sampled_from(["None", "Metadata", "Object", "All"]), "timeout": words | st.just("1s"),
    "timeoutSeconds": numbers.map(str), "pretty": texts, "fieldValidation": words, "dryRun": st.just("All"),
    "fieldManager": texts, "gracePeriodSeconds": numbers.map(str), "propagationPolicy": words,
}  # fmt: skip
queries = st.lists(
    st.sampled_from(sorted(_parameters)).flatmap(lambda name: st.tuples(st.just(name), _parameters[name])), max_size=5
)
accepts = st.sampled_from(
    ["application/json", "application/yaml", "*/*", "", "application/json;as=Table;v=v1;g=meta.k8s.io", "text/html",
     "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
     "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
     "application/yaml;as=Table;v=v1beta1;g=meta.k8s.io", "application/json;as=Table;v=v2;g=x, */*",
     "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf, */*;q=0.1",
     "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io, application/json"]
)  # fmt: skip
segments = st.sampled_from(
    ["", "api", "apis", "v1", "apps", "batch", "namespaces", "default", "pods", "deployments", "nodes", "services",
     "status", "scale", "log", "exec", "proxy", "watch", "tenants", "acme", "system", "*", "-", "%2e%2e", "%2f",
     "%00", "%ff", "there", "openapi", "v2", "v3", "version", "healthz", "readyz", "metrics", "finalize",
     "binding", "eviction", "token", "%25", "a:b", "https:a:1", "metadata"]
)  # fmt: skip
paths = st.lists(segments, max_size=8).map(lambda parts: "/" + "/".join(parts))
