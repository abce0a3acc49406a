"""A Deployment's ReplicaSets as its history: which one has the present template, how each is named and numbered.

A ReplicaSet belongs to a template if the templates are equal, not if hashes are: so a rollback, which is nothing but an
earlier template, finds its ReplicaSet again.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from hypernetes.api.models.apps_v1 import Deployment, ReplicaSet, ReplicaSetSpec
from hypernetes.api.models.core_v1 import PodTemplateSpec
from hypernetes.api.models.meta_v1 import LabelSelector, ObjectMeta
from hypernetes.controllers import ownership

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
_DEFAULT_HISTORY_LIMIT = 10  # ReplicaSets
# Of a Deployment's annotations, those that its ReplicaSets don't take over.
_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
        "deprecated.deployment.rollback.to",
        "hypernetes.io/tenant",
    }
)


def by_age(replica_set: ReplicaSet) -> tuple[str, str]:
    """A sort key: oldest first."""
    return replica_set.metadata.creation_timestamp or "", replica_set.metadata.name or ""


def find_new(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """The ReplicaSet of the present template; the oldest, if bad luck made several."""
    wanted = _comparable(deployment.spec.template)
    for replica_set in sorted(replica_sets, key=by_age):
        if replica_set.spec.template is not None and _comparable(replica_set.spec.template) == wanted:
            return replica_set
    return None


def same_template(replica_set: ReplicaSet, deployment: Deployment) -> bool:
    return find_new(deployment, [replica_set]) is not None


def _comparable(template: PodTemplateSpec) -> dict[str, Any]:
    value = template.to_dict()
    labels = value.get("metadata", {}).get("labels", {})
    if HASH_LABEL in labels:
        value["metadata"]["labels"] = {name: text for name, text in labels.items() if name != HASH_LABEL}
    return value


def template_hash(template: PodTemplateSpec, collisions: int) -> str:
    """Ten letters and digits. `collisions` counts how often the name it gave was taken by something else."""
    text = orjson.dumps([_comparable(template), collisions], option=orjson.OPT_SORT_KEYS)
    number = int.from_bytes(hashlib.sha256(text).digest()[:8])
    alphabet = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words
    letters = []
    for _ in range(10):
        number, digit = divmod(number, len(alphabet))
        letters.append(alphabet[digit])
    return "".join(letters)


def revision_of(replica_set: ReplicaSet) -> int:
    try:
        return int(replica_set.metadata.annotations.get(REVISION, "0"))
    except ValueError:
        return 0


def next_revision(old: Sequence[ReplicaSet]) -> int:
    return max(map(revision_of, old), default=0) + 1


def new_replica_set(deployment: Deployment, old: Sequence[ReplicaSet], replicas: int, most: int) -> ReplicaSet:
    """`most` is the number of pods the Deployment may have in all."""
    digest = template_hash(deployment.spec.template, deployment.status.collision_count or 0)
    template = deployment.spec.template.model_copy(deep=True)
    template.metadata.labels[HASH_LABEL] = digest
    selector = deployment.spec.selector
    metadata = ObjectMeta(
        name=f"{deployment.metadata.name}-{digest}",
        namespace=deployment.metadata.namespace,
        labels=dict(template.metadata.labels),
        annotations={
            **_copied_annotations(deployment),
            REVISION: str(next_revision(old)),
            **size_annotations(deployment, most),
        },
        owner_references=[ownership.controller_reference(deployment)],
    )
    spec = ReplicaSetSpec(
        replicas=replicas,
        min_ready_seconds=deployment.spec.min_ready_seconds,
        selector=LabelSelector(
            match_labels={**selector.match_labels, HASH_LABEL: digest},
            match_expressions=list(selector.match_expressions),
        ),
        template=template,
    )
    return ReplicaSet(metadata=metadata, spec=spec)


def size_annotations(deployment: Deployment, most: int) -> dict[str, str]:
    """How large the Deployment was when the ReplicaSet was last scaled; tells a scaling from a rollout."""
    return {DESIRED_REPLICAS: str(desired(deployment)), MAX_REPLICAS: str(most)}


def refreshed(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> ReplicaSet:
    """`new` numbered as the latest revision, with what it takes over from the Deployment; itself if it has all that."""
    annotations = {**new.metadata.annotations, **_copied_annotations(deployment)}
    revision = next_revision(old)
    if revision_of(new) < revision:
        former = annotations.get(REVISION)
        if former:
            history = annotations.get(REVISION_HISTORY)
            annotations[REVISION_HISTORY] = f"{history},{former}" if history else former
        annotations[REVISION] = str(revision)
    min_ready = deployment.spec.min_ready_seconds
    if annotations == new.metadata.annotations and (new.spec.min_ready_seconds or 0) == (min_ready or 0):
        return new
    return new.model_copy(
        update={
            "metadata": new.metadata.model_copy(update={"annotations": annotations}),
            "spec": new.spec.model_copy(update={"min_ready_seconds": min_ready}),
        }
    )


def superfluous(deployment: Deployment, old: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    """Old ReplicaSets beyond the history limit that hold no pods any more, lowest revision first."""
    limit = deployment.spec.revision_history_limit
    excess = len(old) - (_DEFAULT_HISTORY_LIMIT if limit is None else limit)
    return [entry for entry in sorted(old, key=revision_of)[: max(0, excess)] if _is_spent(entry)]


def _is_spent(replica_set: ReplicaSet) -> bool:
    metadata, status = replica_set.metadata, replica_set.status
    return (
        metadata.deletion_timestamp is None
        and replica_set.spec.replicas == 0
        and not status.replicas
        and (status.observed_generation or 0) >= (metadata.generation or 0)
    )


def desired(deployment: Deployment) -> int:
    return 1 if deployment.spec.replicas is None else deployment.spec.replicas


def _copied_annotations(deployment: Deployment) -> dict[str, str]:
    return {name: text for name, text in deployment.metadata.annotations.items() if name not in _NOT_COPIED}
