"""Upstream's answers, recorded, are ours, in the provider's tenant and in any other; what differs is listed."""

from pathlib import Path

import pytest

from tests.integration.api import differences, replay
from tests.integration.api.differences import SYSTEM, TENANT

RECORDINGS = Path(__file__).parent / "recordings"
# What is not served yet: server-side apply, custom resources.
LATER = frozenset({"apply", "customresources"})
TOPICS = sorted(file.stem for file in RECORDINGS.glob("*.jsonl") if file.stem not in LATER)


@pytest.mark.parametrize("where", [SYSTEM, TENANT])
@pytest.mark.parametrize("topic", TOPICS)
async def test_a_topic_is_answered_as_recorded_but_for_what_is_listed(topic: str, where: str) -> None:
    results = await replay.replay(RECORDINGS, topic, where)
    listed = differences.of(differences.read(RECORDINGS / differences.FILE), topic, where)
    different = {each.id: f"{each.case}: {each.difference}" for each in results if each.difference}
    assert {key: text for key, text in different.items() if key not in listed} == {}
    assert listed - different.keys() == set(), "these differ no longer: replay with --write-differences"
