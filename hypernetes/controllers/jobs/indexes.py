"""Sets of completion indexes as status and policies write them: `1,3-5,7`."""

from collections.abc import Iterable

from hypernetes.api.models.core_v1 import Pod

INDEX = "batch.kubernetes.io/job-completion-index"  # label and annotation of a pod


def parse(text: str | None, completions: int) -> set[int]:
    """Those below `completions`; what isn't of the form is left out (a status is anybody's to write)."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, dash, last = part.partition("-")
        if first.isdecimal() and (last.isdecimal() or not dash):
            found.update(range(int(first), min(int(last if dash else first), completions - 1) + 1))
    return {index for index in found if index < completions}


def text(indexes: Iterable[int]) -> str:
    """In order; three or more in a row as a range."""
    parts: list[str] = []
    first = last = -2
    for index in [*sorted(indexes), -1]:
        if index == last + 1:
            last = index
            continue
        if first >= 0:
            parts.append(str(first) if first == last else f"{first},{last}" if last == first + 1 else f"{first}-{last}")
        first = last = index
    return ",".join(parts)


def of(pod: Pod) -> int | None:
    """A pod's completion index; None for none."""
    value = pod.metadata.annotations.get(INDEX, "")
    return int(value) if value.isdecimal() else None
