"""Tells the stories of stories.txt, and compares what comes of them with what is recorded there.

    kind VERSION KIND [with status]   of the object; a ConfigMap where it isn't said
    show PATH                         of the object, what is told at the end; `data` where it isn't said
    apply NAME [force] [through SUBRESOURCE] CONFIG
    update NAME OBJECT, patch NAME PATCH      as a PUT and a merge patch do
    forget OBJECT                     an object of which nobody knows who manages it

`python -m tests.unit.apiserver.fieldmanagement.test_stories` records what comes of them now, to be read and compared.
"""

import re
from pathlib import Path

import pytest
import yaml

from hypernetes.apiserver.fieldmanagement import fieldsets
from hypernetes.apiserver.fieldmanagement.applying import Conflicts
from hypernetes.apiserver.fieldmanagement.elements import Unsuitable
from tests.unit.apiserver.fieldmanagement.world import World

FILE = Path(__file__).with_name("stories.txt")
STEP = re.compile(r"(apply|update|patch) (\S+)( force)?(?: through (\S+))? (\{.*\})\Z")


def stories():
    """(title, lines, recorded lines) of each."""
    for text in re.split(r"^## ", FILE.read_text(), flags=re.MULTILINE)[1:]:
        title, *lines = text.strip().splitlines()
        end = lines.index("----") if "----" in lines else len(lines)
        yield title, lines[:end], lines[end + 1 :]


def tell(lines):
    """What comes of a story."""
    world, shown, told = World("v1", "ConfigMap"), "data", []
    for line in lines:
        if match := re.match(r"kind (\S+) (\S+)( with status)?\Z", line):
            world = World(match[1], match[2], has_status=bool(match[3]))
        elif line.startswith("show "):
            shown = line.removeprefix("show ")
        elif line.startswith("forget "):
            world.update("nobody", yaml.safe_load(line.removeprefix("forget ")))
            world.managers = {}
        else:
            told += step(world, line)
    value = world.object
    for key in shown.split("."):
        value = (value or {}).get(key)
    if isinstance(value, dict) and shown == "metadata":
        value = {key: each for key, each in value.items() if key != "name"}
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=True).strip()
    return [*told, f"{shown}: {text.removesuffix('...').strip()}", *world.told()]


def step(world, line):
    """What is told of one step: why it was refused, if it was."""
    match = STEP.match(line)
    assert match is not None, line
    verb, name, force, through, body = match.groups()
    name, value = name.strip('"'), yaml.safe_load(body)
    try:
        if verb == "apply":
            world.apply(name, value, force=bool(force), subresource=through or "")
        else:
            getattr(world, verb)(name, value, subresource=through or "")
    except Conflicts as error:
        return [f"{name} refused: {manager}: {fieldsets.text(path)}" for manager, path in error.found]
    except Unsuitable as error:
        return [f"{name} refused: {each.strip()}" for each in str(error).splitlines()]
    return []


@pytest.mark.parametrize(("lines", "recorded"), [pytest.param(*each[1:], id=each[0]) for each in stories()])
def test_it_comes_as_it_is_told(lines, recorded):
    assert tell(lines) == recorded


def record():
    blocks = [FILE.read_text().split("\n## ")[0].rstrip()]
    blocks += ["\n".join([f"## {title}", *lines, "----", *tell(lines)]) for title, lines, _ in stories()]
    FILE.write_text("\n\n".join(blocks) + "\n")


if __name__ == "__main__":
    record()
