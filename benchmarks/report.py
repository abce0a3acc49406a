"""Prints what was measured as a table, and writes it as JSON."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """`goal` None: measured for information only. Higher is better unless `lower_is_better`."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    lower_is_better: bool = False

    @property
    def reached(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value <= self.goal if self.lower_is_better else self.value >= self.goal


def report(figures: list[Figure], path: Path | None) -> None:
    width = max(len(figure.name) for figure in figures)
    for figure in figures:
        goal = "" if figure.goal is None else f"   goal {figure.goal:,g}: {'reached' if figure.reached else 'MISSED'}"
        print(f"{figure.name:<{width}}  {figure.value:>12,.1f} {figure.unit}{goal}")
    if path is not None:
        values = [
            {name: value for name, value in asdict(figure).items() if name != "lower_is_better"}
            | {"reached": figure.reached}
            for figure in figures
        ]
        path.write_text(json.dumps({"machine": machine(), "figures": values}, indent=2) + "\n")


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
