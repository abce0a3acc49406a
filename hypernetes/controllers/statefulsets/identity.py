"""What a StatefulSet's pod is by its number: its name, its labels, its claims."""

import re

from hypernetes.api.models.apps_v1 import ControllerRevision, StatefulSet
from hypernetes.api.models.core_v1 import PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, Volume
from hypernetes.controllers import history
from hypernetes.controllers.replicas import new_pod

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"(.+)-(0|[1-9][0-9]{0,9})\Z")


def pod_name(owner: StatefulSet, ordinal: int) -> str:
    return f"{owner.metadata.name}-{ordinal}"


def ordinal_of(owner: StatefulSet, pod: Pod) -> int | None:
    """None for a pod that isn't named as the set's are."""
    found = _NAME.match(pod.metadata.name or "")
    return int(found[2]) if found and found[1] == owner.metadata.name else None


def claim_names(owner: StatefulSet, ordinal: int) -> dict[str, str]:
    """Volume → claim."""
    return {
        template.metadata.name or "": f"{template.metadata.name}-{pod_name(owner, ordinal)}"
        for template in owner.spec.volume_claim_templates
    }


def new_claims(owner: StatefulSet, ordinal: int) -> list[PersistentVolumeClaim]:
    names = claim_names(owner, ordinal)
    made = []
    for template in owner.spec.volume_claim_templates:
        claim = template.model_copy(deep=True)
        claim.metadata.name = names[template.metadata.name or ""]
        claim.metadata.namespace = owner.metadata.namespace
        claim.metadata.labels = {**claim.metadata.labels, **owner.spec.selector.match_labels}
        claim.metadata.owner_references = []
        claim.status = PersistentVolumeClaim().status
        made.append(claim)
    return made


def new(owner: StatefulSet, ordinal: int, revision: ControllerRevision) -> Pod:
    """The pod of a number, of this revision's template. Raises ValueError for a revision that holds none."""
    made, name = new_pod(owner, history.template_of(revision)), pod_name(owner, ordinal)
    made.metadata.generate_name = None
    made.metadata.name = name
    made.metadata.labels |= {
        POD_NAME: name, POD_INDEX: str(ordinal), history.HASH_LABEL: revision.metadata.name or "",
    }  # fmt: skip
    made.spec.hostname = name
    made.spec.subdomain = owner.spec.service_name or None
    claims = claim_names(owner, ordinal)
    others = [volume for volume in made.spec.volumes if volume.name not in claims]
    made.spec.volumes = others + [
        Volume(name=volume, persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name=claim))
        for volume, claim in claims.items()
    ]
    return made


def revision_of(pod: Pod) -> str:
    return pod.metadata.labels.get(history.HASH_LABEL, "")
