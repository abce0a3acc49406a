"""Runs the commands of a document as a reader would: what is in its fenced `console` blocks.

A line after `$ ` is a command, lines after `> ` continue it (a here-document, too), and all others up to the next
command are what it prints: each must come, in this order, with `…` for anything. A command whose shown output begins
with `Error` must fail, every other one succeed. All run in one shell, so `export` and `cd` hold for what follows.
"""

import asyncio
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_STEP_SECONDS = 120.0  # the machine may be busy with other tests
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OUTPUT_LIMIT = 1024 * 1024
REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Step:
    command: str
    shown: tuple[str, ...]  # the lines that the document shows of its output

    @property
    def fails(self) -> bool:
        return bool(self.shown) and self.shown[0].startswith("Error")


def steps(text: str, section: str | None = None) -> list[Step]:
    """The commands of a Markdown text, or of its section with that heading and what is below it."""
    return [
        step for block in _BLOCK.findall(text if section is None else _section(text, section)) for step in _of(block)
    ]


def _section(text: str, heading: str) -> str:
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"no section is called {heading!r}")
    end = re.compile(rf"^#{{1,{len(found[1])}}} ", re.MULTILINE).search(text, found.end())
    return text[found.end() : end.start() if end else None]


def _of(block: str) -> Iterator[Step]:
    command: list[str] = []
    shown: list[str] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            if command:
                yield Step("\n".join(command), tuple(shown))
            command, shown = [line[2:]], []
        elif not command:
            raise ValueError(f"a block begins with a command, not with {line!r}")
        elif (line == ">" or line.startswith("> ")) and not shown:
            command.append(line[2:])
        elif line.strip():
            shown.append(line.rstrip())
    if command:
        yield Step("\n".join(command), tuple(shown))


def missing(shown: tuple[str, ...], output: str) -> str | None:
    """The first of the shown lines that the output doesn't have after the one before it; spaces count as one."""
    lines = iter([" ".join(line.split()) for line in output.splitlines()])
    for line in shown:
        parts = (re.escape(part) for part in " ".join(line.split()).split("…"))
        pattern = re.compile(".*".join(parts))
        if not any(pattern.fullmatch(each) for each in lines):
            return line
    return None


async def walk(document: Path, directory: Path, section: str | None = None, **environment: str) -> int:
    """Runs them in `directory`, with `hn` and kubectl on the path; returns how many there were.

    Raises AssertionError with the first command that doesn't do what the document says.
    """
    found = steps(document.read_text(), section)
    shell = await asyncio.create_subprocess_exec(
        "bash", "--noprofile", "--norc", cwd=directory, env=_environment(directory, environment), limit=_OUTPUT_LIMIT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        for step in found:
            code, output = await asyncio.wait_for(_run(shell, step.command), _STEP_SECONDS)
            told = f"{document.name}: $ {step.command}\n{output}"
            assert (code != 0) is step.fails, f"it ended with {code}: {told}"
            absent = missing(step.shown, output)
            assert absent is None, f"it doesn't print {absent!r}: {told}"
    finally:
        if shell.returncode is None:
            shell.kill()
        await shell.wait()
    return len(found)


async def _run(shell: asyncio.subprocess.Process, command: str) -> tuple[int, str]:
    assert shell.stdin is not None
    assert shell.stdout is not None
    mark = f"--{os.urandom(8).hex()}--"
    # in braces, so that it reads nothing of what is written after it and `export` still holds
    shell.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n%s %d\\n' {mark} $?\n".encode())
    output = []
    while line := (await shell.stdout.readline()).decode(errors="replace"):
        if line.startswith(mark):
            return int(line.split()[1]), "".join(output)
        output.append(line)
    raise AssertionError(f"the shell ended: $ {command}\n{''.join(output)}")


def _environment(directory: Path, environment: Mapping[str, str]) -> dict[str, str]:
    path = [str(Path(sys.executable).parent), str(REPOSITORY / "build" / "bin"), os.environ["PATH"]]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_") and name != "KUBECONFIG"}
    return {**kept, "HOME": str(directory), "PATH": os.pathsep.join(path), "TZ": "UTC", **environment}
