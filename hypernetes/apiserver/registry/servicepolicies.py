"""How a service's traffic is spread: policies, session affinity, distribution."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

_AFFINITIES = ("ClientIP", "None")
_POLICIES = ("Cluster", "Local")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_MAX_AFFINITY_SECONDS = 86400


def reached_from_outside(spec: dict[str, Any]) -> bool:
    """Whether traffic comes to the service from without the cluster."""
    kind = spec.get("type")
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def validate(spec: dict[str, Any]) -> Causes:
    causes: Causes = []
    kind = spec.get("type")
    external = spec.get("externalTrafficPolicy")
    if external:
        if not reached_from_outside(spec):
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
    return causes + _balancer(spec) + _affinity(spec)


def _balancer(spec: dict[str, Any]) -> Causes:
    """What only a service with a load balancer of its own may say."""
    causes: Causes = []
    balanced, name = spec.get("type") == "LoadBalancer", spec.get("loadBalancerClass")
    if name is not None:
        if not balanced:
            why = "may only be used when `type` is 'LoadBalancer'"
            causes += validation.forbidden("spec.loadBalancerClass", why)
        else:
            causes += validation.qualified_name(name, "spec.loadBalancerClass")
    ranges = spec.get("loadBalancerSourceRanges") or ()
    if ranges and not balanced:
        why = "may only be used when `type` is 'LoadBalancer'"
        return causes + validation.forbidden("spec.loadBalancerSourceRanges", why)
    for index, cidr in enumerate(ranges):
        causes += validation.cidr(cidr.strip(), f"spec.loadBalancerSourceRanges[{index}]")
    return causes


def _affinity(spec: dict[str, Any]) -> Causes:
    affinity = spec.get("sessionAffinity")
    causes = validation.one_of(affinity, _AFFINITIES, "spec.sessionAffinity")
    if affinity == "None" and spec.get("sessionAffinityConfig") is not None:
        why = "must not be set when session affinity is None"
        causes += validation.forbidden("spec.sessionAffinityConfig", why)
    return causes + _affinity_seconds(spec)


def _affinity_seconds(spec: dict[str, Any]) -> Causes:
    seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
    if spec.get("sessionAffinity") != "ClientIP" or seconds is None or 0 < seconds <= _MAX_AFFINITY_SECONDS:
        return []
    path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
    return validation.invalid(path, seconds, f"must be greater than 0 and less than {_MAX_AFFINITY_SECONDS}")
