"""How a service's traffic is spread: policies, session affinity, distribution."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

_POLICIES = ("Cluster", "Local")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_MAX_AFFINITY_SECONDS = 86400


def validate(spec: dict[str, Any]) -> Causes:
    causes: Causes = []
    kind = spec.get("type")
    external = spec.get("externalTrafficPolicy")
    if external:
        if kind not in ("NodePort", "LoadBalancer") and not (kind == "ClusterIP" and spec.get("externalIPs")):
            causes += validation.invalid(
                "spec.externalTrafficPolicy", external, "may only be set for externally-accessible services"
            )
        elif external not in _POLICIES:
            causes += validation.not_supported("spec.externalTrafficPolicy", external, _POLICIES)
    internal = spec.get("internalTrafficPolicy")
    if internal is not None and internal not in _POLICIES:
        causes += validation.not_supported("spec.internalTrafficPolicy", internal, _POLICIES)
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        causes += validation.not_supported("spec.trafficDistribution", distribution, _DISTRIBUTIONS)
    if kind != "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not None:
        causes += validation.forbidden(
            "spec.allocateLoadBalancerNodePorts", "may only be used when `type` is 'LoadBalancer'"
        )
    return causes + _affinity(spec)


def _affinity(spec: dict[str, Any]) -> Causes:
    seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
    if spec.get("sessionAffinity") != "ClientIP" or seconds is None or 0 < seconds <= _MAX_AFFINITY_SECONDS:
        return []
    path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
    return validation.invalid(path, seconds, f"must be greater than 0 and less than {_MAX_AFFINITY_SECONDS}")
