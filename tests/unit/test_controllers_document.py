"""docs/controllers.md names tests that exist, and leaves no case out."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "controllers.md").read_text()
DOCUMENTED = ROOT / "tests" / "integration" / "controllers" / "documented"
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def place(file: str) -> Path:
    first, _, rest = file.partition("/")
    if first == "documented":
        return DOCUMENTED / rest
    if first == "unit" and not rest.startswith("api/"):
        return ROOT / "tests" / "unit" / "controllers" / rest
    return ROOT / "tests" / file


def test_each_test_that_is_named_exists() -> None:
    named = NAMED.findall(DOCUMENT)
    assert len(named) > 80
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not place(file).exists() or not re.search(rf"\bdef {name}\(", place(file).read_text())
    ]
    assert not missing


def test_no_case_is_left_out() -> None:
    cases = {
        name
        for file in ("workloads", "jobs", "plumbing")
        for name in re.findall(r"^async def ([a-z]\w+)\(it: Case\)", (DOCUMENTED / f"{file}.py").read_text(), re.M)
    }
    assert cases == {name for file, name in NAMED.findall(DOCUMENT) if file.startswith("documented/")}
