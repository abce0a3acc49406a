"""What hn-agent's command line asks for."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from hypernetes.nodeagent.main import main


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "missing, but with --runtime fake: --cert, --key, --client-ca, --port, --cluster-id, --guest"),
        (
            ["--cert=c", "--key=k", "--client-ca=a", "--port=1", "--cluster-id=x", "--guest=g", "--nodes=2"],
            "--nodes is for --runtime fake",
        ),
        (["--runtime=fake"], "kubeconfig"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, options: list[str], said: str) -> None:
    needed = ["--dir", str(tmp_path), "--node-name", "n1", "--kubeconfig", str(tmp_path / "kubeconfig")]
    result = CliRunner().invoke(main, [*needed, *options])
    assert result.exit_code != 0
    assert said in result.output
