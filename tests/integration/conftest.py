"""Options of these tests: pytest takes them from a folder that is named on its command line, or one above."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--drop-field", metavar="FIELD", default=None,
        help="tests/integration/pods: take a field (Container.command; sample; all) out, and what shows it must fail",
    )  # fmt: skip
