"""Selectors that take values from the pod's own labels (matchLabelKeys): resolved once, when the pod is made.

KEP-3633 (pod affinity), KEP-3243 (topology spread).
"""

from typing import Any

from hypernetes.apiserver.registry.podrules import affinity

Object = dict[str, Any]


def resolve(pod: Object) -> None:
    """Adds to the selectors of a new pod what its matchLabelKeys and mismatchLabelKeys stand for."""
    spec = pod["spec"]
    if "affinity" not in spec and "topologySpreadConstraints" not in spec:
        return
    labels = pod["metadata"].get("labels") or {}
    affinity.each_pod_term(spec, lambda term: _add(term, labels))
    for constraint in spec.get("topologySpreadConstraints") or ():
        _add(constraint, labels)


def _add(holder: Object, labels: Object) -> None:
    selector = holder.get("labelSelector")
    if selector is None:
        return
    for name, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        for key in holder.get(name) or ():
            if key in labels:
                rule = {"key": key, "operator": operator, "values": [labels[key]]}
                selector.setdefault("matchExpressions", []).append(rule)
