import pytest

from hypernetes.apiserver import validation

GOOD = [
    (validation.dns_label, "a-1"),
    (validation.dns_subdomain, "a.b-c.d"),
    (validation.path_segment, "Anything:at all"),
    (validation.qualified_name, "app.kubernetes.io/Name_1"),
    (validation.label_value, ""),
    (validation.label_value, "A.b_c"),
    (validation.config_key, "x.data"),
    (validation.port_name, "http-2"),
    (validation.ip, "2001:db8::1"),
    (validation.cidr, "10.0.0.0/24"),
]
BAD = [
    (validation.dns_label, "A"),
    (validation.dns_label, "a" * 64),
    (validation.dns_label, "a\n"),
    (validation.dns_subdomain, "a..b"),
    (validation.dns_subdomain, "a" * 254),
    (validation.path_segment, "a/b"),
    (validation.path_segment, ".."),
    (validation.qualified_name, "a/b/c"),
    (validation.qualified_name, "/a"),
    (validation.qualified_name, "a/"),
    (validation.qualified_name, "a" * 64),
    (validation.label_value, "-a"),
    (validation.label_value, "a" * 64),
    (validation.config_key, "a/b"),
    (validation.config_key, ".."),
    (validation.port_name, "80"),
    (validation.port_name, "a--b"),
    (validation.port_name, "x" * 16),
    (validation.ip, "10.0.0.256"),
    (validation.ip, "010.0.0.1"),
    (validation.cidr, "10.0.0.0"),
    (validation.cidr, "10.0.0.1/24"),
]


@pytest.mark.parametrize(("check", "value"), GOOD)
def test_a_good_value_has_no_cause(check, value):
    assert check(value, "spec.x") == []


@pytest.mark.parametrize(("check", "value"), BAD)
def test_a_bad_value_has_causes_that_name_the_field(check, value):
    found = check(value, "spec.x")
    assert found
    assert {(each["reason"], each["field"]) for each in found} == {("FieldValueInvalid", "spec.x")}


def test_labels_name_the_map_once_per_fault():
    found = validation.labels({"bad key": "bad value!"}, "metadata.labels")
    assert [each["field"] for each in found] == ["metadata.labels", "metadata.labels"]


def test_annotation_keys_may_be_upper_case_and_their_size_is_bounded():
    assert validation.annotations({"Example.com/Key": "x"}, "metadata.annotations") == []
    found = validation.annotations({"k": "x" * (256 * 1024)}, "metadata.annotations")
    assert [each["reason"] for each in found] == ["FieldValueTooLong"]


@pytest.mark.parametrize(("port", "fine"), [(0, False), (1, True), (65535, True), (65536, False), ("http", True)])
def test_a_port_is_a_number_or_a_name(port, fine):
    assert (validation.port_number_or_name(port, "port") == []) is fine


def test_a_selector_rule_is_checked_by_its_operator():
    rules = [
        {"key": "a", "operator": "In"},
        {"key": "a", "operator": "Exists", "values": ["x"]},
        {"key": "a", "operator": "Near"},
    ]
    found = validation.label_selector({"matchExpressions": rules}, "spec.selector")
    assert [(each["reason"], each["field"]) for each in found] == [
        ("FieldValueRequired", "spec.selector.matchExpressions[0].values"),
        ("FieldValueForbidden", "spec.selector.matchExpressions[1].values"),
        ("FieldValueInvalid", "spec.selector.matchExpressions[2].operator"),
    ]


def test_a_missing_choice_is_required_and_a_wrong_one_not_supported():
    assert validation.one_of("", ["A"], "t")[0]["reason"] == "FieldValueRequired"
    assert validation.one_of("B", ["A"], "t")[0]["reason"] == "FieldValueNotSupported"
    assert validation.one_of("A", ["A"], "t") == []


def test_a_negative_quantity_and_a_malformed_one_are_invalid():
    assert validation.non_negative_quantity("1500m", "q") == []
    assert validation.non_negative_quantity("-1", "q")[0]["reason"] == "FieldValueInvalid"
    assert validation.non_negative_quantity("1XB", "q")[0]["reason"] == "FieldValueInvalid"


def test_an_object_without_a_name_lacks_a_required_value():
    assert validation.object_name("", validation.dns_subdomain)[0]["reason"] == "FieldValueRequired"
