"""What may be said in a pod's spec, of a pod itself or of a template."""

from collections.abc import Iterator
from typing import Any

from hypernetes.api import quantity
from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import spreads, volumesources
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_PULL = ("Always", "IfNotPresent", "Never")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_OPERATORS = ("Equal", "Exists")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")


def validate(spec: Object, path: str) -> Causes:
    volumes, causes = _volumes(spec.get("volumes") or (), f"{path}.volumes")
    names: set[str] = set()
    if not spec.get("containers"):
        causes += validation.required(f"{path}.containers")
    for part in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(part) or ()):
            causes += _container(container, volumes, names, f"{path}.{part}[{index}]", part)
    causes += validation.one_of(spec.get("restartPolicy"), _RESTART, f"{path}.restartPolicy")
    causes += validation.one_of(spec.get("dnsPolicy"), _DNS, f"{path}.dnsPolicy")
    causes += validation.labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    causes += _tolerations(spec.get("tolerations") or (), f"{path}.tolerations")
    causes += spreads.validate(spec.get("topologySpreadConstraints") or (), f"{path}.topologySpreadConstraints")
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline < 2**31:
        causes += validation.invalid(
            f"{path}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive"
        )
    for name, rule in (
        ("serviceAccountName", validation.dns_subdomain), ("nodeName", validation.dns_subdomain),
        ("hostname", validation.dns_label), ("subdomain", validation.dns_label),
        ("runtimeClassName", validation.dns_subdomain),
    ):  # fmt: skip
        if spec.get(name):
            causes += rule(spec[name], f"{path}.{name}")
    return causes


def _volumes(volumes: Any, path: str) -> tuple[set[str], Causes]:
    """The names of the volumes, and what is wrong with them."""
    names: set[str] = set()
    causes: Causes = []
    for index, volume in enumerate(volumes):
        at, name = f"{path}[{index}]", volume.get("name") or ""
        causes += validation.dns_label(name, f"{at}.name") if name else validation.required(f"{at}.name")
        if name in names:
            causes += validation.duplicate(f"{at}.name", name)
        names.add(name)
        sources = [key for key in volume if key != "name"]
        for source in sources[1:]:
            causes += validation.forbidden(f"{at}.{source}", "may not specify more than 1 volume type")
        causes += volumesources.validate(volume, at)
    return names, causes


def _container(container: Object, volumes: set[str], names: set[str], path: str, part: str) -> Causes:
    name = container.get("name") or ""
    causes = validation.dns_label(name, f"{path}.name") if name else validation.required(f"{path}.name")
    if name and name in names:
        causes += validation.duplicate(f"{path}.name", name)
    names.add(name)
    image = container.get("image") or ""
    if not image:
        causes += validation.required(f"{path}.image")
    elif image.strip() != image:
        causes += validation.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    causes += validation.one_of(container.get("imagePullPolicy"), _PULL, f"{path}.imagePullPolicy")
    causes += _ports(container.get("ports") or (), f"{path}.ports")
    causes += _environment(container.get("env") or (), f"{path}.env")
    causes += _mounts(container.get("volumeMounts") or (), volumes, f"{path}.volumeMounts")
    causes += _resources(container.get("resources") or {}, f"{path}.resources")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            if part == "initContainers" and container.get("restartPolicy") != "Always":
                causes += validation.forbidden(
                    f"{path}.{probe}", "may not be set for init containers without restartPolicy=Always"
                )
            else:
                causes += _probe(container[probe], f"{path}.{probe}", probe)
    return causes


def _ports(ports: Any, path: str) -> Causes:
    causes: Causes = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        at = f"{path}[{index}]"
        name = port.get("name")
        if name:
            causes += validation.port_name(name, f"{at}.name")
            if name in names:
                causes += validation.duplicate(f"{at}.name", name)
            names.add(name)
        number = port.get("containerPort") or 0
        causes += (
            validation.port_number(number, f"{at}.containerPort")
            if number
            else validation.required(f"{at}.containerPort")
        )
        if port.get("hostPort"):
            causes += validation.port_number(port["hostPort"], f"{at}.hostPort")
        causes += validation.one_of(port.get("protocol"), _PROTOCOLS, f"{at}.protocol")
    return causes


def _environment(variables: Any, path: str) -> Causes:
    causes: Causes = []
    for index, variable in enumerate(variables):
        at, name = f"{path}[{index}]", variable.get("name") or ""
        if not name:
            causes += validation.required(f"{at}.name")
        elif "=" in name or not name.isprintable():
            causes += validation.invalid(f"{at}.name", name, "a valid environment variable name must not contain '='")
        source = variable.get("valueFrom")
        if source is not None:
            if variable.get("value"):
                causes += validation.invalid(f"{at}.valueFrom", "", "may not be specified when `value` is not empty")
            if not source:
                causes += validation.invalid(f"{at}.valueFrom", "", "must specify one of the sources of a value")
            elif len(source) > 1:
                causes += validation.invalid(
                    f"{at}.valueFrom", "", "may not have more than one field specified at a time"
                )
    return causes


def _mounts(mounts: Any, volumes: set[str], path: str) -> Causes:
    causes: Causes = []
    places: set[str] = set()
    for index, mount in enumerate(mounts):
        at, name, place = f"{path}[{index}]", mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            causes += validation.required(f"{at}.name")
        elif name not in volumes:
            causes += validation.not_found(f"{at}.name", name)
        if not place:
            causes += validation.required(f"{at}.mountPath")
        elif place in places:
            causes += validation.invalid(f"{at}.mountPath", place, "must be unique")
        places.add(place)
        sub_path = mount.get("subPath") or ""
        if sub_path.startswith("/"):
            causes += validation.invalid(f"{at}.subPath", sub_path, "must be a relative path")
        elif ".." in sub_path.split("/"):
            causes += validation.invalid(f"{at}.subPath", sub_path, "must not contain '..'")
    return causes


def _resources(resources: Object, path: str) -> Causes:
    causes: Causes = []
    limits = resources.get("limits") or {}
    for part in ("limits", "requests"):
        for name, amount in (resources.get(part) or {}).items():
            causes += validation.qualified_name(name, f"{path}.{part}")
            causes += validation.non_negative_quantity(amount, f"{path}.{part}[{name}]")
    if causes:
        return causes
    for name, amount in (resources.get("requests") or {}).items():
        if name in limits and quantity.parse(amount) > quantity.parse(limits[name]):
            causes += validation.invalid(
                f"{path}.requests", amount, f"must be less than or equal to {name} limit of {limits[name]}"
            )
    return causes


def _probe(probe: Object, path: str, name: str) -> Causes:
    handlers = [handler for handler in _HANDLERS if handler in probe]
    causes: Causes = []
    if not handlers:
        causes += validation.required(path, "must specify a handler type")
    for handler in handlers[1:]:
        causes += validation.forbidden(f"{path}.{handler}", "may not specify more than 1 handler type")
    for number in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        causes += validation.non_negative(probe.get(number), f"{path}.{number}")
    if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        causes += validation.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
    for handler in ("httpGet", "tcpSocket"):
        if handler in probe and probe[handler].get("port") is not None:
            causes += validation.port_number_or_name(probe[handler]["port"], f"{path}.{handler}.port")
    if "exec" in probe and not probe["exec"].get("command"):
        causes += validation.required(f"{path}.exec.command")
    return causes


def _tolerations(tolerations: Any, path: str) -> Causes:
    return [
        cause for index, toleration in enumerate(tolerations) for cause in _toleration(toleration, f"{path}[{index}]")
    ]


def _toleration(toleration: Object, path: str) -> Iterator[dict[str, str]]:
    key, operator, effect = toleration.get("key"), toleration.get("operator"), toleration.get("effect")
    if key:
        yield from validation.qualified_name(key, f"{path}.key")
    elif operator != "Exists":
        yield from validation.invalid(f"{path}.operator", operator or "", "operator must be Exists when `key` is empty")
    if operator and operator not in _OPERATORS:
        yield from validation.not_supported(f"{path}.operator", operator, _OPERATORS)
    if operator == "Exists" and toleration.get("value"):
        yield from validation.invalid(
            f"{path}.operator", toleration["value"], "value must be empty when `operator` is 'Exists'"
        )
    if effect and effect not in _EFFECTS:
        yield from validation.not_supported(f"{path}.effect", effect, _EFFECTS)
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        yield from validation.invalid(
            f"{path}.effect", effect or "", "effect must be 'NoExecute' when `tolerationSeconds` is set"
        )
