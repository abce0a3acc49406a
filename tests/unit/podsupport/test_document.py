"""docs/pod-support.md says of every field what becomes of it, and nothing that isn't so."""

import pytest

from hypernetes.nodeagent.refusals import REFUSED
from tests.podsupport import document
from tests.podsupport.fields import dropped, fields


def test_every_field_has_a_row_that_says_what_becomes_of_it() -> None:
    said = {*document.marked(), *REFUSED, *document.ELSEWHERE}
    assert [field for field in document.known() if field not in said] == []


def test_no_field_is_named_that_there_is_not() -> None:
    every = set(fields())
    named = {*document.marked(), *REFUSED, *document.ELSEWHERE}
    assert named - every - {"EphemeralContainer.targetContainerName"} == set()


@pytest.mark.parametrize("field", document.ELSEWHERE)
def test_the_tests_that_are_named_are_there(field: str) -> None:
    _, test = document.ELSEWHERE[field]
    assert document.exists(test)
    assert not document.exists(test + "_not")


def test_the_document_is_of_this_state() -> None:
    assert document.DOCUMENT.read_text() == document.text(), "make pod-support"


def test_what_is_refused_with_every_value_is_not_tested_too() -> None:
    always = {field for field, refusal in REFUSED.items() if refusal.asks is bool}
    assert always & set(document.marked()) == set()


def test_a_field_is_dropped_wherever_it_is_set_and_nothing_else() -> None:
    debug = {"name": "d", "command": ["y"], "targetContainerName": "a"}
    pod = {
        "metadata": {"name": "p"},
        "spec": {
            "containers": [{"name": "a", "command": ["x"]}],
            "ephemeralContainers": [debug],
            "volumes": [{"name": "command", "emptyDir": {}}],
        },
    }
    assert dropped(pod, "Container.command")["spec"] == {
        "containers": [{"name": "a"}],
        "ephemeralContainers": [{"name": "d", "targetContainerName": "a"}],
        "volumes": [{"name": "command", "emptyDir": {}}],
    }
    assert dropped(pod, "Container.image") == pod
    assert (
        "targetContainerName"
        not in dropped(pod, "EphemeralContainer.targetContainerName")["spec"]["ephemeralContainers"][0]
    )
