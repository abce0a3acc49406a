"""Upstream's answers, recorded, are ours, in the provider's tenant and in any other; what differs is listed."""

import pytest

from tests.integration.api import differences, recorded, replay
from tests.integration.api.differences import SYSTEM, TENANT


@pytest.mark.parametrize("where", [SYSTEM, TENANT])
@pytest.mark.parametrize("topic", recorded.topics())
async def test_a_topic_is_answered_as_recorded_but_for_what_is_listed(topic: str, where: str) -> None:
    results = await replay.replay(recorded.RECORDINGS, topic, where)
    listed = differences.of(differences.read(recorded.RECORDINGS / differences.FILE), topic, where)
    different = {each.id: f"{each.case}: {each.difference}" for each in results if each.difference}
    assert {key: text for key, text in different.items() if key not in listed} == {}
    assert listed - different.keys() == set(), "these differ no longer: replay with --write-differences"
