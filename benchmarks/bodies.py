"""What reading a body costs the server: decoding, completing and checking a pod of 3 KB, and patching one.

    python -m benchmarks.bodies [--json FILE]

No server is started: these are the functions that every write calls. Each figure is the best of several rounds.
"""

import timeit
from collections.abc import Callable
from pathlib import Path

import click
import orjson

from benchmarks.load import pods
from benchmarks.report import Figure, report
from hypernetes.apiserver import patch, protobuf, schema
from hypernetes.apiserver.jsonvalues import clone

_CALLS, _ROUNDS = 20, 200  # short ones: some are not disturbed by the machine's other work
_POD = schema.for_kind("v1", "Pod")
_OBJECT = pods.pod("pod-1", "7")
_BODY = orjson.dumps(_OBJECT)
_MESSAGE = protobuf.encode(_OBJECT)
_GOALS = {"read from protobuf": 100.0}  # µs
_LABEL = orjson.dumps({"metadata": {"labels": {"a": "b"}}})
_OPERATION = orjson.dumps([{"op": "add", "path": "/metadata/labels/a", "value": "b"}])
_PATCHES = {patch.MERGE: _LABEL, patch.STRATEGIC: _LABEL, patch.JSON: _OPERATION}


def _patching(content_type: str) -> Callable[[], object]:
    def patched() -> object:
        return patch.decode(_POD, patch.apply(content_type, _OBJECT, _PATCHES[content_type], _POD), "Warn")

    return patched


def _cases() -> dict[str, Callable[[], object]]:
    decoded, _ = _POD.decode(_BODY)
    complete = _POD.default(clone(decoded))
    return {
        "decode, fieldValidation=Ignore": lambda: _POD.decode(_BODY, "Ignore"),
        "decode, fieldValidation=Warn": lambda: _POD.decode(_BODY, "Warn"),
        "copy": lambda: clone(complete),
        "copy and default": lambda: _POD.default(clone(decoded)),
        "validate by the schema": lambda: _POD.validate(complete),
        "read from protobuf": lambda: protobuf.decode(_MESSAGE),
        "write in protobuf": lambda: protobuf.encode(complete),
        **{f"patch and decode, {kind.split('/')[1]}": _patching(kind) for kind in _PATCHES},
    }


@click.command()
@click.option("--json", "path", type=click.Path(path_type=Path), help="write the figures there, too")
def main(path: Path | None) -> None:
    figures = []
    for name, case in _cases().items():
        seconds = min(timeit.repeat(case, number=_CALLS, repeat=_ROUNDS)) / _CALLS
        goal = _GOALS.get(name)
        figures.append(Figure(f"{name}, {len(_BODY)} bytes", seconds * 1e6, "µs", goal, lower_is_better=True))
    report(figures, path)


if __name__ == "__main__":
    main()
