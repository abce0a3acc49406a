import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.api import quantity
from hypernetes.api.status import StatusError
from hypernetes.apiserver import schema
from hypernetes.apiserver.schema.scalars import canonical_quantity

CONTAINER = {"name": "c", "image": "nginx"}


def pod(**spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [CONTAINER], **spec}}


def decode(body, mode="Strict", api_version="v1", kind="Pod", **more):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return schema.for_kind(api_version, kind).decode(raw, mode, **more)


def refused(body, mode="Strict", **more):
    with pytest.raises(StatusError) as error:
        decode(body, mode, **more)
    return error.value


def test_unknown_fields_are_pruned_and_named_by_their_path():
    body = pod(containers=[{**CONTAINER, "imagee": "x"}], nope={"x": 1})
    obj, warnings = decode(body, "Warn")
    assert warnings == ['unknown field "spec.containers[0].imagee"', 'unknown field "spec.nope"']
    assert obj["spec"] == {"containers": [CONTAINER]}
    assert decode(body, "Ignore") == (obj, [])


def test_strict_refuses_unknown_fields():
    error = refused(pod(nope=1))
    assert (error.code, error.reason) == (400, "BadRequest")
    assert 'strict decoding error: unknown field "spec.nope"' in error.message


def test_a_key_that_comes_twice_is_found_though_the_parser_hides_it():
    body = b'{"kind":"ConfigMap","metadata":{"name":"a","name":"b"},"data":{"x":"1","x":"2"}}'
    _, warnings = decode(body, "Warn", kind="ConfigMap")
    assert warnings == ['duplicate field "metadata.name"', 'duplicate field "data.x"']
    assert 'duplicate field "data.x"' in refused(body, kind="ConfigMap").message
    assert decode(body, "Ignore", kind="ConfigMap")[0]["data"] == {"x": "2"}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"containers": "x"}, "spec.containers"),
        ({"containers": [{"name": 5}]}, "spec.containers[0].name"),
        ({"hostNetwork": "yes"}, "spec.hostNetwork"),
        ({"priority": 2**31}, "spec.priority"),
        ({"priority": True}, "spec.priority"),
        ({"priority": 1.5}, "spec.priority"),
        ({"nodeSelector": {"a": 1}}, "spec.nodeSelector.a"),
        ({"overhead": {"cpu": "1 core"}}, "spec.overhead.cpu"),
        ({"volumes": [[]]}, "spec.volumes[0]"),
    ],
)
@pytest.mark.parametrize("mode", ["Ignore", "Warn", "Strict"])
def test_a_wrong_type_is_a_bad_request_that_names_the_field(spec, path, mode):
    error = refused(pod(**spec), mode)
    assert error.code == 400
    assert f"{path}: " in error.message


@pytest.mark.parametrize(("given", "fine"), [(1, True), ("25%", True), (1.5, False), (True, False), (2**31, False)])
def test_a_number_or_percentage_is_an_integer_or_a_string(given, fine):
    body = {"spec": {"strategy": {"rollingUpdate": {"maxSurge": given}}}}
    if fine:
        assert decode(body, api_version="apps/v1", kind="Deployment")[0]["spec"] == body["spec"]
    else:
        assert refused(body, api_version="apps/v1", kind="Deployment").code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"\xff",
        b'{"a":NaN}',
        b"[" * 5000,
        b'{"metadata":{"creationTimestamp":"now"}}',
    ],
)
def test_a_malformed_body_is_a_bad_request(body):
    assert refused(body, "Warn").code == 400


def test_null_is_an_object_in_which_nothing_is_said():
    kind = schema.for_kind("v1", "ConfigMap")
    assert kind.decode(b"null") == ({"apiVersion": "v1", "kind": "ConfigMap"}, [])


def test_another_kind_or_version_is_a_bad_request_and_a_missing_one_filled_in():
    assert refused({"apiVersion": "v9", "kind": "Pod"}).code == 400
    assert refused({"apiVersion": "v1", "kind": "Node"}).code == 400
    obj, _ = decode({"metadata": {"name": "p"}})
    assert (obj["apiVersion"], obj["kind"]) == ("v1", "Pod")


def test_another_media_type_is_unsupported():
    assert refused(b"{}", content_type="application/x-www-form-urlencoded").code == 415
    assert refused(b"{}", content_type="application/vnd.kubernetes.protobuf").code == 415


def test_yaml_is_read_as_kubernetes_reads_it():
    body = b"kind: ConfigMap\nmetadata: {name: x}\ndata:\n\n  a: 2020-01-01\n  a: b\n  1: c\n"
    obj, warnings = decode(body, "Warn", kind="ConfigMap", content_type="application/yaml; charset=utf-8")
    assert obj["data"] == {"a": "b", "1": "c"}
    assert warnings == ['line 6: key "a" already set in map']
    assert decode(b"kind: ConfigMap\ndata: {a: 2020-01-01}\n", kind="ConfigMap", content_type="application/yaml")[0][
        "data"
    ] == {"a": "2020-01-01"}


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (name, name, b",".join([b"*%c" % (name - 1)] * 10)) for name in range(ord("b"), ord("j"))
)


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        b"a: &a [*a]\n",
        b"[" * 20_000,
        b"- " * 20_000,
        b"a: b: c",
        b"%YAML",
        b"a: *x",
        b"? [x]\n: y",
        b"--- 1\n--- 2\n",
    ],
)
def test_hostile_yaml_is_a_bad_request_soon(body):
    began = time.monotonic()
    assert refused(body, "Warn", content_type="application/yaml").code == 400
    assert time.monotonic() - began < 5


def test_null_and_empty_values_are_not_stored():
    body = {"metadata": {"name": "c", "labels": {}, "annotations": None, "generateName": ""}, "data": {"a": None}}
    obj, _ = decode(body, kind="ConfigMap")
    assert obj == {"metadata": {"name": "c"}, "data": {"a": ""}, "apiVersion": "v1", "kind": "ConfigMap"}


def test_an_empty_object_means_something():
    assert decode(pod(volumes=[{"name": "v", "emptyDir": {}}]))[0]["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_an_unset_flag_is_dropped_and_a_chosen_one_kept():
    spec = decode(pod(hostNetwork=False, automountServiceAccountToken=False))[0]["spec"]
    assert "hostNetwork" not in spec
    assert spec["automountServiceAccountToken"] is False


def test_times_are_written_in_utc_and_to_their_precision():
    meta = {"name": "l", "creationTimestamp": "2020-01-02T03:04:05.999+01:00"}
    body = {"metadata": meta, "spec": {"renewTime": "2020-01-02T04:04:05.123456+01:00"}}
    obj, _ = decode(body, api_version="coordination.k8s.io/v1", kind="Lease")
    assert obj["metadata"]["creationTimestamp"] == "2020-01-02T02:04:05Z"
    assert obj["spec"]["renewTime"] == "2020-01-02T03:04:05.123456Z"


@pytest.mark.parametrize("value", ["2020-01-02T03:04:05Z", "2020-01-02T03:04:05.1234567Z", "now", 5])
def test_a_microtime_has_six_digits_of_a_second(value):
    body = {"metadata": {"name": "l"}, "spec": {"renewTime": value}}
    assert refused(body, api_version="coordination.k8s.io/v1", kind="Lease").code == 400


@pytest.mark.parametrize("value", ["not base64!", 5, "YQ="])
def test_secret_data_must_be_base64(value):
    assert refused({"data": {"k": value}}, kind="Secret").code == 400


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("0.5", "500m"), ("1000m", "1"), ("1000", "1k"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("0.5Gi", "512Mi"),
        ("1e3", "1e3"), ("100e3", "100e3"), ("0", "0"), ("0Mi", "0"), ("1500m", "1500m"), ("1023Ki", "1023Ki"),
        ("128974848", "128974848"), ("0.1", "100m"), ("1n", "1n"), ("0.0000000001", "1n"), ("-1.5", "-1500m"),
        ("1E", "1E"), ("1500000k", "1500M"),
    ],
)  # fmt: skip
def test_quantities_have_one_form(given, written):
    assert canonical_quantity(given) == written


@given(st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,6})?(m|k|M|G|Ki|Mi|Gi|e3|)", fullmatch=True))
def test_the_one_form_of_a_quantity_is_the_same_amount(text):
    canonical = canonical_quantity(text)
    amount, written = quantity.parse(text), quantity.parse(canonical)
    assert canonical_quantity(canonical) == canonical
    assert amount <= written <= amount + 1  # never less; fractions of a byte are rounded up
    if not text.endswith("i"):
        assert written - amount <= quantity.parse("1n")


def test_missing_values_and_duplicates_in_keyed_lists_are_causes():
    kind = schema.for_kind("v1", "Pod")
    volumes = [{"name": "v"}, {"name": "v"}]
    obj = kind.default(kind.decode(pod(containers=[], volumes=volumes))[0])
    assert [(each["reason"], each["field"]) for each in kind.validate(obj)] == [
        ("FieldValueRequired", "spec.containers"),
        ("FieldValueDuplicate", "spec.volumes[1].name"),
    ]


def test_what_a_strategy_has_said_already_is_not_said_again():
    kind = schema.for_kind("v1", "Pod")
    obj = kind.default(kind.decode(pod(containers=[]))[0])
    found = kind.validate(obj)
    assert kind.validate(obj, found) == []


def test_a_list_that_upstream_takes_with_duplicates_is_fine():
    kind = schema.for_kind("v1", "Pod")
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    obj = kind.default(kind.decode(pod(containers=[{**CONTAINER, "env": env}]))[0])
    assert kind.validate(obj) == []


def test_our_own_kinds_are_held_to_their_schema():
    kind = schema.for_kind("hypernetes.io/v1", "Network")
    obj = kind.default(kind.decode({"metadata": {"name": "n"}, "spec": {"subnets": {"a": {"gateway": "10.0.0.1"}}}})[0])
    assert [(each["reason"], each["field"]) for each in kind.validate(obj)] == [
        ("FieldValueRequired", "spec.subnets[a].cidr")
    ]
    assert schema.for_kind("v1", "Network").decode({"kind": "Network"})[0]["apiVersion"] == "v1"


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"), ("nginx:latest", "Always"), ("nginx:1.25", "IfNotPresent"),
        ("127.0.0.1:5000/nginx", "Always"), ("127.0.0.1:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)  # fmt: skip
def test_the_pull_policy_follows_the_tag(image, policy):
    kind = schema.for_kind("v1", "Pod")
    obj = kind.default(kind.decode(pod(containers=[{"name": "c", "image": image}]))[0])
    assert obj["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_every_kind_of_the_scheme_compiles_and_takes_an_empty_object():
    from hypernetes.api import scheme

    for resource in scheme.served():
        kind = schema.for_kind(resource.api_version, resource.kind)
        obj = kind.default(kind.decode({"metadata": {"name": "x"}})[0])
        assert isinstance(kind.validate(obj), list)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["metadata", "spec", "status", "containers", "name", "labels", "resources", "limits", "cpu", "ports"]
)


@given(
    st.recursive(json_values, lambda inner: st.dictionaries(FIELDS, inner) | st.lists(inner, max_size=2), max_leaves=20)
)
def test_any_value_is_decoded_or_refused_but_never_crashes(value):
    kind = schema.for_kind("v1", "Pod")
    try:
        obj, _ = kind.decode({"metadata": value, "spec": value, "status": value}, "Warn")
    except StatusError:
        return
    kind.validate(kind.default(obj))
    assert kind.decode(json.dumps(obj).encode(), "Strict")[0] == obj
