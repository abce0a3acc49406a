"""`deploy/side-by-side`: what runs at once fails where any of it fails, and nothing that was printed is lost."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "deploy" / "side-by-side"


def run(*commands: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *commands], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    ("commands", "code"),
    [(("true", "true"), 0), (("false", "true"), 1), (("true", "false"), 1), (("exit 7", "exit 9"), 1)],
)
def test_it_fails_where_one_fails(commands: tuple[str, ...], code: int) -> None:
    assert run(*commands).returncode == code


def test_what_each_printed_is_kept_together_and_in_order() -> None:
    done = run("sleep 0.2; echo one; echo ONE >&2", "echo two")
    assert done.stdout.split() == ["one", "ONE", "two"]


def test_they_run_at_once(tmp_path: Path) -> None:
    met = "touch {0}; until [ -e {1} ]; do sleep 0.01; done"
    here, there = tmp_path / "here", tmp_path / "there"
    assert run(met.format(here, there), met.format(there, here)).returncode == 0
