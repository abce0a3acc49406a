"""Labels, selectors and lists of names as cells."""

from collections.abc import Iterable, Mapping
from typing import Any

NONE = "<none>"
_MOST = 3  # entries shown of a list


def labels(values: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((values or {}).items())) or NONE


def selector(value: Mapping[str, Any] | None) -> str:
    """A LabelSelector in the syntax of `kubectl -l`, sorted by key."""
    parts = [(key, f"{key}={text}") for key, text in ((value or {}).get("matchLabels") or {}).items()]
    for rule in (value or {}).get("matchExpressions") or ():
        key, operator = rule.get("key", ""), rule.get("operator", "")
        if operator in ("In", "NotIn"):
            values = ",".join(sorted(rule.get("values") or ()))
            parts.append((key, f"{key} {operator.lower()} ({values})"))
        else:
            parts.append((key, key if operator == "Exists" else f"!{key}"))
    return ",".join(text for _, text in sorted(parts)) or NONE


def first_few(entries: Iterable[str], empty: str) -> str:
    """At most three, and how many more there are."""
    listed = list(entries)
    if not listed:
        return empty
    shown = ",".join(listed[:_MOST])
    return f"{shown} + {len(listed) - _MOST} more..." if len(listed) > _MOST else shown
