"""Which controllers run: `--controllers=*,-cronjob`."""

from collections.abc import Iterable

ALL = "*"


def select(known: Iterable[str], asked: str) -> frozenset[str]:
    """`asked` is a list of names, `-name` for one that doesn't run, `*` for all that aren't named. Raises ValueError
    for a name that isn't known."""
    words = [word.strip() for word in asked.split(",") if word.strip()]
    names = frozenset(known)
    unknown = sorted({word.removeprefix("-") for word in words} - names - {ALL})
    if unknown:
        raise ValueError(f"there is no controller {', '.join(unknown)}; there are: {', '.join(sorted(names))}")
    without = {word[1:] for word in words if word.startswith("-")}
    named = {word for word in words if not word.startswith("-")}
    return names - without if ALL in named else frozenset(named - without)
