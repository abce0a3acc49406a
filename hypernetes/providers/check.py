"""What a check of the surroundings comes to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; one that isn't good says what to do."""

    what: str
    good: bool
    text: str
