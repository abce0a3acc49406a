"""The small kernel: its configuration says what the documentation does, and a line that doesn't take is an error."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hypernetes.cli.main import main
from hypernetes.guest import smallkernel
from hypernetes.guest.commands import BuildError

DOCUMENT = Path(__file__).parents[3] / "docs" / "guest-kernel.md"
CONFIG = smallkernel.CONFIG.read_text()


def test_what_the_kernel_does_not_take_over_is_named() -> None:
    wanted = 'CONFIG_A=y\nCONFIG_B="text"\n# CONFIG_C is not set\n# a remark\nCONFIG_D=y\n'
    assert smallkernel.missing(wanted, 'CONFIG_A=y\nCONFIG_B="text"\nCONFIG_D=y\n') == []
    configured = 'CONFIG_A=m\nCONFIG_B="text"\nCONFIG_C=y\n# CONFIG_D is not set\n'
    assert smallkernel.missing(wanted, configured) == ["CONFIG_A=y", "CONFIG_C=n", "CONFIG_D=y"]


def test_the_configuration_has_what_the_document_says() -> None:
    settings = smallkernel.settings(CONFIG)
    rows = [line.split("|") for line in DOCUMENT.read_text().splitlines() if "`CONFIG_" in line]
    named = {match[0]: row[3].strip() for row in rows for match in [re.findall(r"CONFIG_\w+", row[4])]}
    assert len(named) > 10
    assert {symbol for symbol, state in named.items() if state != "no"} <= {
        symbol for symbol, value in settings.items() if value == "y"
    }


def test_nothing_in_the_configuration_is_a_module() -> None:
    assert "m" not in smallkernel.settings(CONFIG).values()
    assert smallkernel.settings(CONFIG)["CONFIG_MODULES"] == "n"


def test_a_missing_tool_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(tool: str) -> Path:
        if tool == "flex":
            raise BuildError("the tool flex is missing: install it by apt-get install flex")
        return Path("/usr/bin") / tool

    monkeypatch.setattr(smallkernel, "find", find)
    done = CliRunner().invoke(main, ["guest", "build-kernel", str(tmp_path / "guest")])
    assert done.exit_code == 1
    assert "apt-get install flex" in done.output
    assert not (tmp_path / "guest").exists()
