"""Defaults of pods and pod templates."""

from typing import Any

_FILE_MODE = 0o644
_GRACE_SECONDS = 30
_TOKEN_SECONDS = 3600
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_NUMBERS = (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3))
_HOOKS = ("postStart", "preStop")
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


def pod(obj: dict[str, Any]) -> None:
    spec = obj["spec"]
    _pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    for part in ("containers", "initContainers"):
        for container in spec.get(part) or ():
            _requests_from_limits(container["resources"])
            if spec.get("hostNetwork"):
                for port in container.get("ports") or ():
                    port.setdefault("hostPort", port["containerPort"])
    _requests_from_limits(spec.get("resources") or {})
    _addresses(obj.get("status") or {})


def _addresses(status: dict[str, Any]) -> None:
    """podIP is the first of podIPs, and wins where they differ."""
    address, addresses = status.get("podIP"), status.get("podIPs")
    if address and (not addresses or addresses[0].get("ip") != address):
        status["podIPs"] = [{"ip": address}]
    elif addresses and not address:
        status["podIP"] = addresses[0].get("ip") or ""


def template(value: dict[str, Any]) -> None:
    """A template lacks what only a pod gets: service links, and requests taken from limits."""
    _pod_spec(value["spec"])


def pull_policy(image: str) -> str:
    """Always for `latest`, said or unsaid; an image by digest never changes."""
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _pod_spec(spec: dict[str, Any]) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", _GRACE_SECONDS)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for part in _CONTAINER_LISTS:
        for container in spec.get(part) or ():
            _container(container)
    for volume in spec.get("volumes") or ():
        _volume(volume)


def _container(container: dict[str, Any]) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", pull_policy(container.get("image", "")))
    for name in _PROBES:
        if name in container:
            probe = container[name]
            for key, number in _PROBE_NUMBERS:
                probe.setdefault(key, number)
            _http_get(probe)
    if "lifecycle" in container:
        _lifecycle(container)
    for variable in container.get("env") or ():
        _field_reference(variable.get("valueFrom") or {})


def _lifecycle(container: dict[str, Any]) -> None:
    lifecycle = container["lifecycle"]
    if lifecycle.pop("stopSignal", None) and not lifecycle:  # behind a feature gate
        del container["lifecycle"]
    for name in _HOOKS:
        if name in lifecycle:
            _http_get(lifecycle[name])


def _http_get(handler: dict[str, Any]) -> None:
    get = handler.get("httpGet")
    if get is not None:
        get.setdefault("path", "/")
        get.setdefault("scheme", "HTTP")


def _field_reference(source: dict[str, Any]) -> None:
    if "fieldRef" in source:
        source["fieldRef"].setdefault("apiVersion", "v1")
    if "resourceFieldRef" in source:
        source["resourceFieldRef"].setdefault("divisor", "0")


def _requests_from_limits(resources: dict[str, Any]) -> None:
    for name, amount in (resources.get("limits") or {}).items():
        resources.setdefault("requests", {}).setdefault(name, amount)


def _volume(volume: dict[str, Any]) -> None:
    if len(volume) <= 1:  # only its name
        volume["emptyDir"] = {}
    for kind in ("secret", "configMap", "downwardAPI", "projected"):
        if kind in volume:
            volume[kind].setdefault("defaultMode", _FILE_MODE)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    if "image" in volume:
        volume["image"].setdefault("pullPolicy", pull_policy(volume["image"].get("reference", "")))
    if "ephemeral" in volume and "volumeClaimTemplate" in volume["ephemeral"]:
        volume["ephemeral"]["volumeClaimTemplate"]["spec"].setdefault("volumeMode", "Filesystem")
    for item in (volume.get("downwardAPI") or {}).get("items") or ():
        _field_reference(item)
    for source in (volume.get("projected") or {}).get("sources") or ():
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", _TOKEN_SECONDS)
        for item in (source.get("downwardAPI") or {}).get("items") or ():
            _field_reference(item)
