"""The templates that a StatefulSet or a DaemonSet has had: its ControllerRevisions, oldest first.

A revision belongs to a template if the templates are equal, so that a rollback, which is nothing but an earlier
template, finds its revision again and gives it the highest number.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from hypernetes.api.models.apps_v1 import ControllerRevision
from hypernetes.api.models.core_v1 import PodTemplateSpec
from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.client import Client, is_reason
from hypernetes.controllers import ownership
from hypernetes.controllers.writes import Create, Delete, Update, carry_out_one

HASH_LABEL = "controller-revision-hash"  # of pods: the name, or the last part of the name, of their revision
_OF_REVISION = "controller.kubernetes.io/hash"
_DEFAULT_LIMIT = 10
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words
_COLLISIONS_MAX = 16


@dataclass(frozen=True, slots=True)
class History:
    """All revisions of an owner, and that of its present template."""

    revisions: list[ControllerRevision]
    present: ControllerRevision

    def named(self, name: str | None) -> ControllerRevision | None:
        return next((each for each in self.revisions if each.metadata.name == name), None)


def digest_of(revision: ControllerRevision) -> str:
    """What tells it from the owner's others."""
    return revision.metadata.labels.get(_OF_REVISION, "")


def template_of(revision: ControllerRevision) -> PodTemplateSpec:
    """Raises ValueError for a revision that holds none (anybody in the tenant may write one)."""
    try:
        found = dict((revision.data or {})["spec"]["template"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"the ControllerRevision {revision.metadata.name} holds no template") from error
    found.pop("$patch", None)
    return PodTemplateSpec.from_dict(found)


def ordered(revisions: Sequence[ControllerRevision]) -> list[ControllerRevision]:
    return sorted(
        revisions, key=lambda each: (each.revision, each.metadata.creation_timestamp or "", each.metadata.name)
    )


def find(owner: Any, revisions: Sequence[ControllerRevision]) -> ControllerRevision | None:
    wanted = _data(owner)
    return next((each for each in reversed(ordered(revisions)) if each.data == wanted), None)


def _data(owner: Any) -> dict[str, Any]:
    """A strategic merge patch that makes the template be this one again: what `kubectl rollout undo` sends."""
    return {"spec": {"template": {**owner.spec.template.to_dict(), "$patch": "replace"}}}


def new_revision(owner: Any, number: int, collisions: int) -> ControllerRevision:
    """`collisions` counts how often the name it gave was taken by something else."""
    data = _data(owner)
    digest = _digest(orjson.dumps([data, collisions], option=orjson.OPT_SORT_KEYS))
    metadata = ObjectMeta(
        name=f"{owner.metadata.name}-{digest}",
        namespace=owner.metadata.namespace,
        labels={**owner.spec.template.metadata.labels, _OF_REVISION: digest},
        annotations={
            name: value
            for name, value in owner.metadata.annotations.items()
            if name not in ("kubectl.kubernetes.io/last-applied-configuration", "hypernetes.io/tenant")
        },
        owner_references=[ownership.controller_reference(owner)],
    )
    return ControllerRevision(metadata=metadata, data=data, revision=number)


def _digest(text: bytes) -> str:
    number = int.from_bytes(hashlib.sha256(text).digest()[:8])
    letters = []
    for _ in range(10):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return "".join(letters)


def superfluous(
    revisions: Sequence[ControllerRevision], live: Collection[str], limit: int | None
) -> list[ControllerRevision]:
    """Those beyond the limit that no pod has (`live`: names), oldest first."""
    spent = [each for each in ordered(revisions) if each.metadata.name not in live]
    return spent[: max(0, len(spent) - (_DEFAULT_LIMIT if limit is None else limit))]


async def sync(client: Client, tenant: str, owner: Any, revisions: Sequence[ControllerRevision]) -> History:
    """Sees to it that the present template has a revision, the highest. Raises what the client raises."""
    known, found = ordered(revisions), find(owner, revisions)
    highest = known[-1].revision if known else 0
    if found is None:
        found = await _create(client, tenant, owner, highest + 1)
        known.append(found)
    elif found is not known[-1]:
        raised = found.model_copy(update={"revision": highest + 1})
        known.remove(found)
        found = await carry_out_one(client, tenant, Update(raised))
        known.append(found)
    return History(known, found)


async def _create(client: Client, tenant: str, owner: Any, number: int) -> ControllerRevision:
    """One of the name that holds the same was made by us before the cache showed it."""
    for collisions in range(_COLLISIONS_MAX):
        made = new_revision(owner, number, collisions)
        try:
            created: ControllerRevision = await carry_out_one(client, tenant, Create(made))
        except Exception as error:
            if not is_reason(error, "AlreadyExists"):
                raise
            name = made.metadata.name or ""
            there = await client.get(ControllerRevision, name, namespace=made.metadata.namespace, tenant=tenant)
            if there.data == made.data and ownership.is_controlled_by(there, owner):
                return there
        else:
            return created
    raise ValueError(f"the names of {owner.metadata.name}'s revisions are taken")


async def truncate(client: Client, tenant: str, history: History, live: Collection[str], limit: int | None) -> None:
    for revision in superfluous(history.revisions, live, limit):
        await carry_out_one(client, tenant, Delete(revision))
