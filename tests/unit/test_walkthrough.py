"""What runs the commands of documents finds them, and notices when one does something else."""

from pathlib import Path

import pytest

from tests import walkthrough
from tests.walkthrough import Step, missing, steps

DOCUMENT = """
# One

```console
$ export WORD=hello
$ cat <<END
> $WORD
>
> there
> END
hello
…re
```

```sh
not run
```

## Under one

```console
$ false
Error: …
```

# Two

```console
$ echo two
```
"""


def test_commands_are_taken_with_what_they_print_and_a_section_with_what_is_below_it() -> None:
    here = Step("cat <<END\n$WORD\n\nthere\nEND", ("hello", "…re"))
    first = [Step("export WORD=hello", ()), here, Step("false", ("Error: …",))]
    assert steps(DOCUMENT, "One") == first
    assert steps(DOCUMENT, "Under one") == first[2:]
    assert steps(DOCUMENT) == [*first, Step("echo two", ())]


def test_a_section_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="Three"):
        steps(DOCUMENT, "Three")


def test_shown_lines_come_in_their_order_with_anything_for_an_ellipsis() -> None:
    output = "NAME   PHASE\nacme   Active\n"
    assert missing(("NAME PHASE", "acme …"), output) is None
    assert missing(("acme …", "NAME PHASE"), output) == "NAME PHASE"
    assert missing(("acme",), output) == "acme"


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("$ echo one\ntwo", "doesn't print 'two'"),
        ("$ exit_code() { return 3; }\n$ exit_code", "ended with 3"),
        ("$ true\nError: no", "ended with 0"),
        ("$ exit 0", "the shell ended"),
    ],
)
async def test_a_command_that_does_something_else_is_told(tmp_path: Path, block: str, problem: str) -> None:
    document = tmp_path / "document.md"
    document.write_text(f"```console\n{block}\n```\n")
    with pytest.raises(AssertionError, match=problem):
        await walkthrough.walk(document, tmp_path)


async def test_what_was_exported_holds_and_input_is_empty(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("```console\n$ export A=1\n$ cat\n$ cat <<END\n> a$A\n> END\na1\n```\n")
    assert await walkthrough.walk(document, tmp_path) == 3
