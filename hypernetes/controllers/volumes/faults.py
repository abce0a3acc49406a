"""The steps of a volume's life between which a process may die. Tests let it die there; else they do nothing.

Each is passed after what its name says has happened.
"""

from collections.abc import Callable

CLAIM_HELD = "the claim is held"
VOLUME_CREATED = "the volume is created"
VOLUME_RECORDED = "the volume is recorded"
VOLUME_CLAIMED = "the volume is claimed"
CLAIM_BOUND = "the claim is bound"
VOLUME_DELETED = "the volume is deleted"
VOLUME_LET_GO = "the volume's record is let go"
ATTACHMENT_RECORDED = "the attachment is recorded"
ATTACHED = "the volume is attached"
ATTACHMENT_ENDING = "the attachment is to end"
FENCED = "the node is fenced"
DETACHED = "the volume is detached"
EXTENDED = "the volume is extended"
SNAPSHOT_RECORDED = "the snapshot is recorded"
SNAPSHOT_TAKEN = "the snapshot is taken"
SNAPSHOT_DELETED = "the snapshot is deleted"

STEPS = (
    CLAIM_HELD, VOLUME_CREATED, VOLUME_RECORDED, VOLUME_CLAIMED, CLAIM_BOUND, VOLUME_DELETED, VOLUME_LET_GO,
    ATTACHMENT_RECORDED, ATTACHED, ATTACHMENT_ENDING, FENCED, DETACHED, EXTENDED, SNAPSHOT_RECORDED, SNAPSHOT_TAKEN,
    SNAPSHOT_DELETED,
)  # fmt: skip

at_step: Callable[[str], None] | None = None  # what a test puts here may raise


def passed(step: str) -> None:
    if at_step is not None:
        at_step(step)
