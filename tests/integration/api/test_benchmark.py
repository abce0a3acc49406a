"""The benchmark runs, on little of everything: what nobody runs is broken when it is needed."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.api import PARTS

SECONDS = 120


def test_the_benchmark_measures_everything(tmp_path: Path) -> None:
    report = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.api", "--quick", "--store", "sqlite", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = {figure["name"]: figure["value"] for figure in json.loads(report.read_text())["figures"]}
    assert all(value > 0 for value in figures.values()), figures
    told = (
        "creates", "GETs", "LIST of all", "GETs over HTTP/2", "patches", "applies by three managers",
        "10 watchers, full speed: events", "memory per idle watch, 50 a connection",
    )  # fmt: skip
    assert len(told) == len(PARTS)
    for name in told:
        assert f"sqlite: {name}" in figures
