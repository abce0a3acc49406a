from pathlib import Path

import pytest

from hypernetes.cli.doctor import Finding, bridges, kubectl_is_new_enough, render
from hypernetes.cli.tables import table


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ("v1.32.4-dispatcher", True),
        ("v1.28.0", True),
        ("v1.27.9", False),
        ("v1.20.2", False),
        ("2.0", True),
        ("", False),
    ],
)
def test_debians_own_kubectl_is_too_old(version: str, good: bool):
    assert kubectl_is_new_enough(version) is good


def test_findings_line_up():
    assert (
        render([Finding("a", True, "fine"), Finding("guest", False, "none")]) == "ok    a      fine\nFAIL  guest  none"
    )


def test_columns_are_as_wide_as_their_widest_cell():
    assert table(("NAME", "X"), [("a", "1"), ("longer", "22")]) == "NAME     X\na        1\nlonger   22"


def test_a_kernel_that_filters_no_bridge_enforces_no_policy(tmp_path: Path):
    assert not bridges(tmp_path).good
    (tmp_path / "bridge-nf-call-iptables").touch()
    assert bridges(tmp_path).good
