"""What a NodeVolume may say, and that it only grows."""

from typing import Any

import pytest

from hypernetes.apiserver.registry import nodevolumes


def found(causes: list[dict[str, str]]) -> list[str]:
    return [cause["field"] for cause in causes]


def volume(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "v"}, "spec": {"nodeName": "n1", "size": "1Gi", **spec}}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, []),
        ({"nodeName": ""}, ["spec.nodeName"]),
        ({"size": None}, ["spec.size"]),
        ({"size": "0"}, ["spec.size"]),
        ({"size": "-1"}, ["spec.size"]),
        ({"source": {"volume": "a", "snapshot": "b"}}, ["spec.source"]),
        ({"snapshot": True, "size": None, "source": {"volume": "a"}}, []),
        ({"snapshot": True, "size": None, "source": {"snapshot": "a"}}, ["spec.source.volume"]),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], wanted: list[str]) -> None:
    assert found(nodevolumes.validate(volume(**changes))) == wanted


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"size": "2Gi"}, []),
        ({"size": "1024Mi"}, []),
        ({"size": "1Mi"}, ["spec.size"]),
        ({"nodeName": "n2"}, ["spec.nodeName"]),
        ({"source": {"volume": "a"}}, ["spec.source"]),
    ],
)
def test_only_the_size_changes_and_it_grows(changes: dict[str, Any], wanted: list[str]) -> None:
    assert found(nodevolumes.validate_update(volume(**changes), volume())) == wanted


def test_a_new_one_waits_for_its_node_and_is_held_by_it() -> None:
    made = volume()
    nodevolumes.prepare_create(made)
    assert made["metadata"]["finalizers"] == [nodevolumes.FINALIZER]
    assert made["status"] == {"phase": "Pending"}
