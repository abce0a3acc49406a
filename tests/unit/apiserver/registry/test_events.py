from typing import Any

import pytest

from hypernetes.apiserver.registry import events

CORE: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "web"},
    "involvedObject": {"kind": "Pod", "namespace": "web", "name": "p"}, "reason": "Started", "message": "m",
    "source": {"component": "c"}, "firstTimestamp": None, "lastTimestamp": None, "count": 3, "type": "Normal",
    "eventTime": "2020-01-02T03:04:05.000006Z", "reportingComponent": "example.com/c", "reportingInstance": "i",
    "action": "A",
}  # fmt: skip


def test_the_two_forms_of_an_event_are_each_others_inverse() -> None:
    shown = events.from_core(CORE)
    assert shown["apiVersion"] == "events.k8s.io/v1"
    assert (shown["regarding"], shown["note"], shown["deprecatedCount"]) == (CORE["involvedObject"], "m", 3)
    assert events.to_core(shown) == CORE


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        ("regarding.name", "involvedObject.name"), ("reportingController", "reportingComponent"), ("reason", "reason"),
        ("metadata.name", "metadata.name"), ("involvedObject.name", None), ("source", None),
    ],
)  # fmt: skip
def test_each_form_has_its_own_names_for_field_selectors(path: str, stored: str | None) -> None:
    assert events.core_path(path) == stored


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"eventTime": None}, "eventTime", "FieldValueRequired"),
        ({"action": ""}, "action", "FieldValueRequired"),
        ({"reportingComponent": "a b"}, "reportingController", "FieldValueInvalid"),
        ({"reportingInstance": "i" * 129}, "reportingInstance", "FieldValueInvalid"),
        ({"message": "é" * 513}, "message", "FieldValueInvalid"),
        ({"type": "Odd"}, "type", "FieldValueInvalid"),
        ({"involvedObject": {}}, "involvedObject.namespace", "FieldValueInvalid"),
        ({"count": 3}, "count", "FieldValueInvalid"),
        ({"source": {"component": "c"}}, "source", "FieldValueInvalid"),
    ],
)
def test_an_event_of_the_newer_form_must_say_everything(change: dict[str, Any], field: str, reason: str) -> None:
    new = {**CORE, "source": {}, "count": 0}
    assert events.validate(new) + events.validate_new_form(new) == []
    changed = {**new, **change}
    found = events.validate(changed) + events.validate_new_form(changed)
    assert [(cause["field"], cause["reason"]) for cause in found] == [(field, reason)]


def test_an_event_of_the_newer_form_may_be_about_an_object_elsewhere() -> None:
    assert events.validate({**CORE, "involvedObject": {"namespace": "other"}}) == []
    assert events.validate({**CORE, "involvedObject": {"namespace": "other"}, "eventTime": None}) != []


def test_of_an_event_of_the_newer_form_only_the_series_changes() -> None:
    assert events.validate_new_form_update({**CORE, "series": {"count": 2}}, CORE) == []
    assert [cause["field"] for cause in events.validate_new_form_update({**CORE, "reason": "Z"}, CORE)] == ["reason"]


def test_an_event_without_a_time_may_say_little() -> None:
    few = {key: CORE[key] for key in ("apiVersion", "kind", "metadata", "involvedObject")}
    assert events.validate(few) == []
