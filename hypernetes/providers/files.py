"""Providers' files: YAML mappings of which every field is known."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml


def read(path: Path, texts: Collection[str], others: Collection[str] = ()) -> dict[str, Any]:
    """What a file says. `texts` are fields that are text, `others` those that the caller looks at. Paths are relative
    to the file (`beside`). Raises ValueError, which names file and field."""
    try:
        said = yaml.safe_load(path.read_bytes()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path} can't be read: {error}") from error
    if not isinstance(said, dict):
        raise ValueError(f"{path} must be a mapping")
    if unknown := sorted(map(str, said.keys() - {*texts, *others})):
        raise ValueError(f"{path}: {unknown[0]} is not known here")
    for name in texts:
        if name in said and not is_text(said[name]):
            raise ValueError(f"{path}: {name} must be text")
    return said


def beside(path: Path, named: str | None) -> Path | None:
    return None if named is None else path.parent / named


def is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
