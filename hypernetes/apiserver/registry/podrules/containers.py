"""Containers of the three sorts: what all may say, and what only some may."""

from dataclasses import dataclass
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry.podrules import environment, handlers, mounts, resources, security
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

PARTS = ("initContainers", "containers", "ephemeralContainers")
_PULL = ("Always", "IfNotPresent", "Never")
_MESSAGES = ("FallbackToLogsOnError", "File")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_RESTARTS = ("Always", "Never", "OnFailure")
_RULE_OPERATORS = ("In", "NotIn")
_MAX_RULES, _MAX_EXIT_CODES = 20, 255
_RESIZABLE, _RESIZE_RESTARTS = ("cpu", "memory"), ("NotRequired", "RestartContainer")
_NOT_EPHEMERAL = (
    "ports", "resources", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "restartPolicy",
    "restartPolicyRules", "resizePolicy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What of its pod a container's rules depend on."""

    volumes: Object  # the sound ones by name
    claims: frozenset[str]  # resource claims
    grace: int | None  # terminationGracePeriodSeconds
    restart_policy: str
    host_users: bool


def validate(spec: Object, around: Surroundings, path: str) -> Causes:
    """All containers of a pod."""
    containers, init, ephemeral = (
        spec.get(part) or () for part in ("containers", "initContainers", "ephemeralContainers")
    )
    names: set[str] = set()
    causes: Causes = [] if containers else validation.required(f"{path}.containers")
    taken: set[tuple[Any, ...]] = set()
    for index, container in enumerate(containers):
        at = f"{path}.containers[{index}]"
        causes += _container(container, around, at) + _unique(container, names, at)
        causes += handlers.validate(container, around.grace, at)
        if "ports" in container:
            causes += _host_ports(container["ports"], taken, f"{at}.ports")
    for index, container in enumerate(init):
        at = f"{path}.initContainers[{index}]"
        causes += _container(container, around, at) + _unique(container, names, at)
        causes += _initial(container, around, at)
        if "ports" in container:
            causes += _host_ports(container["ports"], set(), f"{at}.ports")  # they run one by one
    targets = frozenset(names)
    for index, container in enumerate(ephemeral):
        at = f"{path}.ephemeralContainers[{index}]"
        causes += _container(container, around, at) + _unique(container, names, at)
        causes += _ephemeral(container, targets, at)
    return causes


def _unique(container: Object, names: set[str], path: str) -> Causes:
    name = container.get("name") or ""
    if name in names:
        return validation.duplicate(f"{path}.name", name)
    if name:
        names.add(name)
    return []


def _container(container: Object, around: Surroundings, path: str) -> Causes:
    """What holds for containers of all sorts."""
    name = container.get("name") or ""
    causes = validation.dns_label(name, f"{path}.name") if name else validation.required(f"{path}.name")
    if not container.get("image"):
        causes += validation.required(f"{path}.image")
    for field, choices in (("terminationMessagePolicy", _MESSAGES), ("imagePullPolicy", _PULL)):
        if container.get(field) not in choices:
            causes += validation.one_of(container.get(field), choices, f"{path}.{field}")
    if "ports" in container:
        causes += _ports(container["ports"], f"{path}.ports")
    if "env" in container:
        causes += environment.validate(container["env"], around.volumes, f"{path}.env")
    if "envFrom" in container:
        causes += environment.validate_from(container["envFrom"], f"{path}.envFrom")
    if "volumeMounts" in container or "volumeDevices" in container:
        causes += mounts.validate(container, around.volumes, path)
    if container.get("resources"):
        causes += resources.validate(container["resources"], around.claims, f"{path}.resources")
    if "resizePolicy" in container:
        causes += _resize_policy(container["resizePolicy"], around.restart_policy, f"{path}.resizePolicy")
    if "securityContext" in container:
        causes += security.validate(container["securityContext"], around.host_users, f"{path}.securityContext")
    if "restartPolicy" in container or "restartPolicyRules" in container:
        causes += _restarts(container, path)
    return causes


def _initial(container: Object, around: Surroundings, path: str) -> Causes:
    """Only an init container that keeps running (a sidecar) is probed, and told that it ends."""
    if container.get("restartPolicy") == "Always":
        return handlers.validate(container, around.grace, path)
    why = "may not be set for init containers without restartPolicy=Always"
    return [
        cause
        for field in ("lifecycle", *handlers.PROBES)
        if field in container
        for cause in validation.forbidden(f"{path}.{field}", why)
    ]


def _ephemeral(container: Object, targets: frozenset[str], path: str) -> Causes:
    why = "cannot be set for an Ephemeral Container"
    causes: Causes = []
    target = container.get("targetContainerName")
    if target and target not in targets:
        causes += validation.not_found(f"{path}.targetContainerName", target)
    for field in _NOT_EPHEMERAL:
        if container.get(field):
            causes += validation.forbidden(f"{path}.{field}", why)
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        for field in ("subPath", "subPathExpr"):
            if mount.get(field):
                causes += validation.forbidden(f"{path}.volumeMounts[{index}].{field}", why)
    image = container.get("image") or ""
    return causes + padded_image(image, path)


def padded_image(image: str, path: str) -> Causes:
    """Of pods only: templates with such an image have always been taken."""
    if image.strip() == image:
        return []
    return validation.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")


def _ports(ports: Any, path: str) -> Causes:
    causes: Causes = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        name, number, host = port.get("name"), port.get("containerPort") or 0, port.get("hostPort") or 0
        if name:
            wrong = validation.port_name(name, f"{path}[{index}].name")
            if not wrong and name in names:
                wrong = validation.duplicate(f"{path}[{index}].name", name)
            causes += wrong
            names.add(name)
        if not number:
            causes += validation.required(f"{path}[{index}].containerPort")
        elif not 1 <= number <= 65535:
            causes += validation.port_number(number, f"{path}[{index}].containerPort")
        if host:
            causes += validation.port_number(host, f"{path}[{index}].hostPort")
        if port.get("protocol") not in _PROTOCOLS:
            causes += validation.one_of(port.get("protocol"), _PROTOCOLS, f"{path}[{index}].protocol")
    return causes


def _host_ports(ports: Any, taken: set[tuple[Any, ...]], path: str) -> Causes:
    causes: Causes = []
    for index, port in enumerate(ports):
        if port.get("hostPort"):
            key = (port.get("protocol"), port.get("hostIP") or "", port["hostPort"])
            if key in taken:
                causes += validation.duplicate(f"{path}[{index}].hostPort", "/".join(map(str, key)))
            taken.add(key)
    return causes


def _resize_policy(policies: Any, restart_policy: str, path: str) -> Causes:
    """What a change of a resource does to the running container (KEP-1287)."""
    causes: Causes = []
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        name, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if name in seen:
            causes += validation.duplicate(f"{path}[{index}]", name)
        seen.add(name)
        causes += validation.one_of(name, _RESIZABLE, path) + validation.one_of(restart, _RESIZE_RESTARTS, path)
        if restart_policy == "Never" and restart != "NotRequired":
            causes += validation.invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'")
    return causes


def _restarts(container: Object, path: str) -> Causes:
    """A container's own restart policy, and exit codes with which it is restarted against it (KEP-5307)."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    causes: Causes = []
    if policy is None and rules:
        causes += validation.required(f"{path}.restartPolicy", "must be set when restartPolicyRules are")
    elif policy is not None and policy not in _RESTARTS:
        causes += validation.not_supported(f"{path}.restartPolicy", policy, _RESTARTS)
    at = f"{path}.restartPolicyRules"
    if len(rules) > _MAX_RULES:
        causes += validation.too_many(at, len(rules), _MAX_RULES)
    for index, rule in enumerate(rules):
        causes += validation.one_of(rule.get("action"), ("Restart",), f"{at}[{index}].action")
        codes = rule.get("exitCodes")
        if codes is None:
            causes += validation.required(f"{at}[{index}].exitCodes", "must be specified")
            continue
        causes += validation.one_of(codes.get("operator"), _RULE_OPERATORS, f"{at}[{index}].exitCodes.operator")
        values = codes.get("values") or ()
        if len(values) > _MAX_EXIT_CODES:
            causes += validation.too_many(f"{at}[{index}].exitCodes.values", len(values), _MAX_EXIT_CODES)
    return causes
