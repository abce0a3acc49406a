"""Roles and their bindings, of a namespace and of the cluster: who may do what. (Who may write them is authz's.)"""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_GROUP = "rbac.authorization.k8s.io"


def validate_role(role: Object) -> Causes:
    return _rules(role, namespaced=True)


def validate_cluster_role(role: Object) -> Causes:
    causes = _rules(role, namespaced=False)
    aggregation = role.get("aggregationRule")
    if aggregation is None:
        return causes
    path = "aggregationRule.clusterRoleSelectors"
    selectors = aggregation.get("clusterRoleSelectors") or ()
    if not selectors:
        causes += validation.required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")
    for index, selector in enumerate(selectors):
        found = validation.label_selector(selector, f"{path}[{index}]")
        causes += found
        if found:
            causes += validation.invalid(f"{path}[{index}]", selector, "can't be read as a selector")
    return causes


def _rules(role: Object, *, namespaced: bool) -> Causes:
    rules = enumerate(role.get("rules") or ())
    return [cause for index, rule in rules for cause in _rule(rule, f"rules[{index}]", namespaced)]


def _rule(rule: Object, path: str, namespaced: bool) -> Causes:
    causes: Causes = []
    if not rule.get("verbs"):
        causes += validation.required(f"{path}.verbs", "verbs must contain at least one value")
    urls = rule.get("nonResourceURLs")
    if not urls:
        for name in ("apiGroups", "resources"):
            if not rule.get(name):
                causes += validation.required(f"{path}.{name}", f"resource rules must supply at least one of {name}")
        return causes
    if namespaced:
        why = "namespaced rules cannot apply to non-resource URLs"
        causes += validation.invalid(f"{path}.nonResourceURLs", urls, why)
    if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
        why = "rules cannot apply to both regular resources and non-resource URLs"
        causes += validation.invalid(f"{path}.nonResourceURLs", urls, why)
    return causes


def validate_binding(binding: Object) -> Causes:
    return _role_reference(binding, ("ClusterRole", "Role")) + _subjects(binding, namespaced=True)


def validate_cluster_binding(binding: Object) -> Causes:
    return _role_reference(binding, ("ClusterRole",)) + _subjects(binding, namespaced=False)


def _role_reference(binding: Object, kinds: tuple[str, ...]) -> Causes:
    reference = binding.get("roleRef") or {}
    group, kind, name = (reference.get(key) or "" for key in ("apiGroup", "kind", "name"))
    causes: Causes = []
    if group != _GROUP:
        causes += validation.not_supported("roleRef.apiGroup", group, (_GROUP,))
    if kind not in kinds:
        causes += validation.not_supported("roleRef.kind", kind, kinds)
    causes += validation.path_segment(name, "roleRef.name") if name else validation.required("roleRef.name")
    return causes


def _subjects(binding: Object, *, namespaced: bool) -> Causes:
    subjects = enumerate(binding.get("subjects") or ())
    return [cause for index, subject in subjects for cause in _subject(subject, f"subjects[{index}]", namespaced)]


def _subject(subject: Object, path: str, namespaced: bool) -> Causes:
    name, kind, group = (subject.get(key) or "" for key in ("name", "kind", "apiGroup"))
    causes: Causes = [] if name else validation.required(f"{path}.name")
    if kind == "ServiceAccount":
        if name:
            causes += validation.dns_subdomain(name, f"{path}.name")
        if group:
            causes += validation.not_supported(f"{path}.apiGroup", group, ("",))
        if not namespaced and not subject.get("namespace"):
            causes += validation.required(f"{path}.namespace")
    elif kind in ("User", "Group"):
        if group != _GROUP:
            causes += validation.not_supported(f"{path}.apiGroup", group, (_GROUP,))
    else:
        causes += validation.not_supported(f"{path}.kind", kind, ("Group", "ServiceAccount", "User"))
    return causes


def role_stays(new: Object, old: Object) -> Causes:
    """A binding binds one role for good; who is bound to it may change."""
    if new.get("roleRef") != old.get("roleRef"):
        return validation.invalid("roleRef", new.get("roleRef"), "cannot change roleRef")
    return []


ROLES = Strategy(name_rule=validation.path_segment, complete=True, create_on_update=True, validate=validate_role)
CLUSTER_ROLES = Strategy(
    name_rule=validation.path_segment, complete=True, create_on_update=True, validate=validate_cluster_role
)
BINDINGS = Strategy(
    name_rule=validation.path_segment,
    complete=True,
    create_on_update=True,
    validate=validate_binding,
    validate_update=role_stays,
)
CLUSTER_BINDINGS = Strategy(
    name_rule=validation.path_segment,
    complete=True,
    create_on_update=True,
    validate=validate_cluster_binding,
    validate_update=role_stays,
)
