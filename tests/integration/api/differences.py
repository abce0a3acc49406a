"""The list of recorded sequences that are answered differently here, each with its reason: recordings/differences.yaml.

topic:
  id:
    case: what the sequence is about
    where: [system, tenant]
    reason: why; `open` where it is to be mended
"""

from pathlib import Path

import yaml

FILE = "differences.yaml"
SYSTEM, TENANT = "system", "tenant"  # the provider's own tenant, and one like any other
EVERYWHERE = "everywhere"  # in both
OPEN = "open"

Listed = dict[str, dict[str, dict[str, str]]]  # topic -> id -> {case, where, reason}

_HEAD = """\
# Recorded sequences that are answered differently here. Written by
#     python -m tests.integration.api.replay tests/integration/api/recordings [TOPIC ...] --write-differences
# which keeps the reasons; a new difference is `open` until somebody writes down why it has to be.
"""


def read(file: Path) -> Listed:
    return yaml.safe_load(file.read_text()) or {} if file.exists() else {}


def of(listed: Listed, topic: str, where: str) -> set[str]:
    """The ids that differ in a place."""
    return {identity for identity, row in listed.get(topic, {}).items() if row["where"] in (where, EVERYWHERE)}


def replaced(listed: Listed, topic: str, where: str, found: dict[str, str]) -> Listed:
    """The list with what was found in one place (id -> case) for what it said of that place."""
    former = listed.get(topic, {})
    other = TENANT if where == SYSTEM else SYSTEM
    elsewhere = of(listed, topic, other)
    rows = {}
    for identity in sorted(elsewhere | found.keys()):
        row = former.get(identity, {"reason": OPEN})
        place = other if identity not in found else EVERYWHERE if identity in elsewhere else where
        rows[identity] = {"case": found.get(identity) or row["case"], "where": place, "reason": row["reason"]}
    return {**listed, topic: rows}


def write(file: Path, listed: Listed) -> None:
    rows = {topic: listed[topic] for topic in sorted(listed) if listed[topic]}
    file.write_text(
        _HEAD + yaml.safe_dump(rows, default_flow_style=None, sort_keys=False, allow_unicode=True, width=1000)
    )
