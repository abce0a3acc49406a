"""Where a pod wants to run: on nodes of some kind, near some pods, away from others."""

from collections.abc import Callable
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def validate(affinity: Object, path: str) -> Causes:
    causes: Causes = []
    nodes = affinity.get("nodeAffinity") or {}
    if REQUIRED in nodes:
        causes += node_selector(nodes[REQUIRED], f"{path}.nodeAffinity.{REQUIRED}")
    for index, term in enumerate(nodes.get(PREFERRED) or ()):
        at = f"{path}.nodeAffinity.{PREFERRED}[{index}]"
        causes += _weight(term, at)
        # Values may be anything here: what no node has makes no difference.
        causes += _node_term(term.get("preference") or {}, f"{at}.preference", any_value=True)
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(kind) or {}
        for index, term in enumerate(pods.get(REQUIRED) or ()):
            causes += _pod_term(term, f"{path}.{kind}.{REQUIRED}[{index}]")
        for index, weighted in enumerate(pods.get(PREFERRED) or ()):
            at = f"{path}.{kind}.{PREFERRED}[{index}]"
            causes += _weight(weighted, at)
            causes += _pod_term(weighted.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm")
    return causes


def _weight(term: Object, path: str) -> Causes:
    weight = term.get("weight") or 0
    return [] if 1 <= weight <= 100 else validation.invalid(f"{path}.weight", weight, "must be in the range 1-100")


def node_selector(selector: Object, path: str) -> Causes:
    """Terms of which a node must match one; of pods, and of volumes that only some nodes reach."""
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        return validation.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    causes: Causes = []
    for index, term in enumerate(terms):
        causes += _node_term(term, f"{path}.nodeSelectorTerms[{index}]")
    return causes


def _node_term(term: Object, path: str, *, any_value: bool = False) -> Causes:
    causes: Causes = []
    for index, rule in enumerate(term.get("matchExpressions") or ()):
        causes += _expression(rule, f"{path}.matchExpressions[{index}]", any_value=any_value)
    for index, rule in enumerate(term.get("matchFields") or ()):
        causes += _field(rule, f"{path}.matchFields[{index}]")
    return causes


def _expression(rule: Object, path: str, *, any_value: bool) -> Causes:
    operator, values = rule.get("operator") or "", rule.get("values") or ()
    causes: Causes = []
    if operator in ("In", "NotIn"):
        if not values:
            causes += validation.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            causes += validation.forbidden(f"{path}.values", why)
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            why = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            causes += validation.required(f"{path}.values", why)
    else:
        causes += validation.invalid(f"{path}.operator", operator, "not a valid selector operator")
    causes += validation.qualified_name(rule.get("key") or "", f"{path}.key")
    for index, value in enumerate(() if any_value else values):
        causes += validation.label_value(value, f"{path}.values[{index}]")
    return causes


def _field(rule: Object, path: str) -> Causes:
    """A field of nodes, of which there is one: their name."""
    operator, key, values = rule.get("operator") or "", rule.get("key") or "", rule.get("values") or ()
    causes: Causes = []
    if operator not in ("In", "NotIn"):
        causes += validation.invalid(f"{path}.operator", operator, "not a valid selector operator")
    elif len(values) != 1:
        why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        causes += validation.required(f"{path}.values", why)
    if key != "metadata.name":
        return causes + validation.invalid(f"{path}.key", key, "not a valid field selector key")
    for index, value in enumerate(values):
        causes += validation.dns_subdomain(value, f"{path}.values[{index}]")
    return causes


def _pod_term(term: Object, path: str) -> Causes:
    causes = validation.label_selector(term.get("labelSelector"), f"{path}.labelSelector")
    causes += validation.label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for name in term.get("namespaces") or ():
        causes += validation.dns_label(name, f"{path}.namespace")
    if term.get("matchLabelKeys") or term.get("mismatchLabelKeys"):
        causes += _label_keys(term, path)
    key = term.get("topologyKey") or ""
    if not key:
        causes += validation.required(f"{path}.topologyKey", "can not be empty")
    return causes + validation.qualified_name(key, f"{path}.topologyKey")


def _label_keys(term: Object, path: str) -> Causes:
    """Labels whose values are the pod's own (KEP-3633)."""
    wanted, unwanted = term.get("matchLabelKeys") or (), term.get("mismatchLabelKeys") or ()
    causes: Causes = []
    if term.get("labelSelector") is None:
        for name, keys in (("matchLabelKeys", wanted), ("mismatchLabelKeys", unwanted)):
            if keys:
                causes += validation.forbidden(f"{path}.{name}", "must not be specified when labelSelector is not set")
    for name, keys in (("matchLabelKeys", wanted), ("mismatchLabelKeys", unwanted)):
        for index, key in enumerate(keys):
            causes += validation.qualified_name(key, f"{path}.{name}[{index}]")
    for index, key in enumerate(wanted):
        if key in unwanted:
            why = "exists in both matchLabelKeys and mismatchLabelKeys"
            causes += validation.invalid(f"{path}.matchLabelKeys[{index}]", key, why)
    return causes


def each_pod_term(spec: Object, visit: Callable[[Object], None]) -> None:
    """Shows `visit` every term about other pods."""
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = (spec.get("affinity") or {}).get(kind) or {}
        for term in pods.get(REQUIRED) or ():
            visit(term)
        for weighted in pods.get(PREFERRED) or ():
            visit(weighted.get("podAffinityTerm") or {})
