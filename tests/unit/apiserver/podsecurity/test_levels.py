import pytest

from hypernetes.apiserver.podsecurity.levels import LevelVersion, Policy, label_problems

P = "pod-security.kubernetes.io/"


def test_a_namespace_without_labels_demands_nothing():
    assert Policy.of({"app": "x"}).demands_nothing


def test_what_is_enforced_is_warned_of_unless_the_namespace_says_otherwise():
    assert Policy.of({f"{P}enforce": "baseline"}).warn == LevelVersion("baseline")
    assert Policy.of({f"{P}enforce": "baseline", f"{P}warn": "privileged"}).warn == LevelVersion("privileged")
    assert Policy.of({f"{P}enforce": "baseline", f"{P}warn": "restricted"}).warn == LevelVersion("restricted")


def test_an_unreadable_level_is_enforced_as_the_strictest():
    assert Policy.of({f"{P}enforce": "odd"}).enforce.level == "restricted"
    assert Policy.of({f"{P}audit": "odd"}).audit.level == "privileged"


@pytest.mark.parametrize(
    ("version", "minor"), [("v1.0", 0), ("v1.8", 8), ("v1.36", 36), ("latest", 1_000_000), ("v2.1", 1_000_000)]
)
def test_a_version_is_a_minor_number(version, minor):
    assert LevelVersion("baseline", version).minor == minor


@pytest.mark.parametrize(
    ("label", "value", "wrong"),
    [
        ("enforce", "baseline", False),
        ("enforce", "Baseline", True),
        ("warn", "", True),
        ("enforce-version", "v1.30", False),
        ("audit-version", "latest", False),
        ("warn-version", "v9", True),
        ("warn-version", "v1.x", True),
        ("warn-version", "v1.01", True),
    ],
)
def test_labels_that_cannot_be_read_are_named(label, value, wrong):
    fields = [cause["field"] for cause in label_problems({f"{P}{label}": value})]
    assert fields == ([f"metadata.labels[{P}{label}]"] if wrong else [])
