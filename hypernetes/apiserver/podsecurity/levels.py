"""Levels, the versions they are pinned to, and the policy that a namespace's labels state."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

PRIVILEGED, BASELINE, RESTRICTED = "privileged", "baseline", "restricted"
LEVELS = (PRIVILEGED, BASELINE, RESTRICTED)  # from lax to strict
MODES = ("enforce", "audit", "warn")
LABEL_PREFIX = "pod-security.kubernetes.io/"
LATEST = "latest"
_VERSION = re.compile(r"v1\.([1-9][0-9]{0,4}|0)\Z")
_NEWEST_MINOR = 1_000_000  # later than any


@dataclass(frozen=True, slots=True)
class LevelVersion:
    level: str = PRIVILEGED
    version: str = LATEST

    @property
    def minor(self) -> int:
        """The minor version whose rules hold."""
        match = _VERSION.match(self.version)
        return int(match[1]) if match else _NEWEST_MINOR

    def stricter_than(self, other: "LevelVersion") -> bool:
        return LEVELS.index(self.level) > LEVELS.index(other.level)

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a namespace refuses, what it notes down, and what it warns of."""

    enforce: LevelVersion = LevelVersion()
    audit: LevelVersion = LevelVersion()
    warn: LevelVersion = LevelVersion()

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> "Policy":
        """From labels. What can't be read counts as strict as can be, where it would refuse something."""
        found = {}
        for mode in MODES:
            level = labels.get(f"{LABEL_PREFIX}{mode}")
            version = labels.get(f"{LABEL_PREFIX}{mode}-version", LATEST)
            if level is not None and level not in LEVELS:
                level = RESTRICTED if mode == "enforce" else PRIVILEGED
            if version != LATEST and not _VERSION.match(version):
                version = LATEST
            found[mode] = LevelVersion(level or PRIVILEGED, version)
        if f"{LABEL_PREFIX}warn" not in labels and found["enforce"].stricter_than(found["warn"]):
            found["warn"] = found["enforce"]  # workloads aren't refused: their owners learn it from the warning
        return cls(**found)

    @property
    def demands_nothing(self) -> bool:
        return all(each.level == PRIVILEGED for each in (self.enforce, self.audit, self.warn))


def label_problems(labels: Mapping[str, str]) -> Causes:
    """Of the labels that state a policy."""
    causes: Causes = []
    for mode in MODES:
        name = f"{LABEL_PREFIX}{mode}"
        level, version = labels.get(name), labels.get(f"{name}-version")
        if level is not None and level not in LEVELS:
            causes += validation.invalid(f"metadata.labels[{name}]", level, f"must be one of {', '.join(LEVELS)}")
        if version is not None and version != LATEST and not _VERSION.match(version):
            why = 'must be "latest" or "v1.x"'
            causes += validation.invalid(f"metadata.labels[{name}-version]", version, why)
    return causes
