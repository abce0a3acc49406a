"""What a pod may say and seldom means: the client is told, and the pod is taken as it is."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import oldnames
from hypernetes.apiserver.registry.podrules import affinity, annotations
from hypernetes.apiserver.registry.podrules.containers import PARTS

Object = dict[str, Any]

_OLD_ANNOTATIONS = (
    (annotations.APPARMOR, 'deprecated since v1.30; use the "appArmorProfile" field instead'),
    ("seccomp.security.alpha.kubernetes.io/pod", 'non-functional in v1.27+; use the "seccompProfile" field instead'),
    (
        "container.seccomp.security.alpha.kubernetes.io/",
        'non-functional in v1.27+; use the "seccompProfile" field instead',
    ),
)
_WHOLE = ("memory", "ephemeral-storage")


def of_pod(new: Object, old: Object | None) -> list[str]:
    if old is not None and new["spec"] == old["spec"]:
        return []
    found = of_spec(new["spec"], "spec") + _of_annotations(new["metadata"].get("annotations"), "metadata.annotations")
    if old is None and validation.dns_label(new["metadata"].get("name") or "", ""):
        found.append(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
            "a DNS label is recommended"
        )
    return found


def of_template(template: Object | None, old: Object | None, path: str) -> list[str]:
    """Nothing for a template that an update leaves as it was."""
    if not template or template == old:
        return []
    metadata = template.get("metadata") or {}
    found = _of_annotations(metadata.get("annotations"), f"{path}.metadata.annotations")
    return found + of_spec(template.get("spec") or {}, f"{path}.spec")


def _of_annotations(values: Object | None, path: str) -> list[str]:
    return [
        f"{path}[{key}]: {why}"
        for key in values or ()
        if "security" in key
        for prefix, why in _OLD_ANNOTATIONS
        if key.startswith(prefix)
    ]


def of_spec(spec: Object, path: str) -> list[str]:
    found: list[str] = []
    for part in PARTS:
        for index, container in enumerate(spec.get(part) or ()):
            _container(container, f"{path}.{part}[{index}]", found)
    for index, volume in enumerate(spec.get("volumes") or ()):
        _volume(volume, f"{path}.volumes[{index}]", found)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        why = "must be >= 0; negative values are invalid and will be treated as 1"
        found.append(f"{path}.terminationGracePeriodSeconds: {why}")
    _repeated(spec.get("imagePullSecrets") or (), "name", f"{path}.imagePullSecrets", found)
    _repeated(spec.get("hostAliases") or (), "ip", f"{path}.hostAliases", found)
    for index, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            found.append(f'{path}.imagePullSecrets[{index}].name: invalid empty name ""')
    _amounts(spec.get("overhead") or {}, f"{path}.overhead", found)
    if "nodeSelector" in spec:
        for key in spec["nodeSelector"]:
            found += oldnames.label(key, f"{path}.nodeSelector[{key}]")
    if "affinity" in spec:
        _affinity(spec, f"{path}.affinity", found)
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        at = f"{path}.topologySpreadConstraints[{index}]"
        found += oldnames.label(constraint.get("topologyKey") or "", f"{at}.topologyKey")
        if constraint.get("labelSelector") is None:
            found.append(f"{at}.labelSelector: a null labelSelector results in matching no pod")
    return found


def _container(container: Object, path: str, found: list[str]) -> None:
    resources = container.get("resources")
    if resources:
        for part in ("limits", "requests"):
            _amounts(resources.get(part) or {}, f"{path}.resources.{part}", found)
    variables = container.get("env") or ()
    if len(variables) > 1:
        names: set[str] = set()
        for index, variable in enumerate(variables):
            name = variable.get("name") or ""
            if name in names:
                why = f'hides previous definition of "{name}", which may be dropped when using apply'
                found.append(f"{path}.env[{index}]: {why}")
            names.add(name)
    ports = container.get("ports") or ()
    if len(ports) > 1:
        _ports(ports, f"{path}.ports", found)


def _ports(ports: Any, path: str, found: list[str]) -> None:
    seen: dict[tuple[Any, Any], str] = {}
    for index, port in enumerate(ports):
        key = (port.get("containerPort"), port.get("protocol"))
        if key in seen:
            found.append(f"{path}[{index}]: duplicate port definition with {seen[key]}")
        else:
            seen[key] = f"{path}[{index}]"


def _amounts(amounts: Object, path: str, found: list[str]) -> None:
    for name in _WHOLE:
        found += oldnames.fraction(amounts.get(name), f"{path}[{name}]")


def _repeated(entries: Any, key: str, path: str, found: list[str]) -> None:
    if len(entries) < 2:
        return
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        value = entry.get(key) or ""
        if value in seen:
            found.append(f'{path}[{index}].{key}: duplicate {key} "{value}"')
        seen.add(value)


def _volume(volume: Object, path: str, found: list[str]) -> None:
    found += oldnames.volume(volume, path)
    for index, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
        if not source:
            found.append(f"{path}.projected.sources[{index}]: no sources provided")
    claim = ((volume.get("ephemeral") or {}).get("volumeClaimTemplate") or {}).get("spec") or {}
    storage = ((claim.get("resources") or {}).get("requests") or {}).get("storage")
    found += oldnames.fraction(storage, f"{path}.ephemeral.volumeClaimTemplate.spec.resources.requests[storage]")


def _affinity(spec: Object, path: str, found: list[str]) -> None:
    nodes = spec["affinity"].get("nodeAffinity") or {}
    terms = list((nodes.get(affinity.REQUIRED) or {}).get("nodeSelectorTerms") or ())
    terms += [term.get("preference") or {} for term in nodes.get(affinity.PREFERRED) or ()]
    for term in terms:
        for rule in term.get("matchExpressions") or ():
            found += oldnames.label(rule.get("key") or "", f"{path}.nodeAffinity")

    def look(term: Object) -> None:
        if term.get("labelSelector") is None:
            found.append(f"{path}: a null labelSelector results in matching no pod")

    affinity.each_pod_term(spec, look)
