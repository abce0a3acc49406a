"""Recordings of what upstream's API server answers: the cases kept here, and all others where they are at hand."""

import json
from pathlib import Path

import pytest

from hypernetes.api import scheme

OWN = Path(__file__).parent / "cases"
SHARED = Path(__file__).parents[4] / "shared" / "kubernetes-1.36" / "recordings"  # beside the checkout


@pytest.fixture(scope="session")
def recordings():
    """recordings(topic): the sequences about kinds that are served, each with its id, case and steps."""
    kinds = {resource.kind for resource in scheme.served()}

    def read(topic):
        sequences = [json.loads(line) for line in (OWN / f"{topic}.jsonl").read_text().splitlines()]
        known = {sequence["id"] for sequence in sequences}
        shared = SHARED / f"{topic}.jsonl"
        for line in shared.read_text().splitlines() if shared.exists() else ():
            sequence = json.loads(line)
            if sequence["id"] not in known and sequence["kinds"] and kinds.issuperset(sequence["kinds"]):
                sequences.append({**sequence, "steps": sequence["steps"][1:]})
        return sequences

    return read
