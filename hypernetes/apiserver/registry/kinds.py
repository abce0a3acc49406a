"""Which strategy belongs to which resource."""

from hypernetes.apiserver.registry import (
    configs,
    endpoints,
    events,
    leases,
    namespaces,
    networks,
    pods,
    services,
    tenants,
    workloads,
)
from hypernetes.apiserver.registry.strategy import Strategy

# (group, plural) -> strategy
STRATEGIES: dict[tuple[str, str], Strategy] = {
    ("", "configmaps"): configs.CONFIG_MAPS,
    ("", "secrets"): configs.SECRETS,
    ("", "events"): events.CORE,
    ("events.k8s.io", "events"): events.NEW_FORM,
    ("", "endpoints"): Strategy(create_on_update=True),
    ("", "namespaces"): namespaces.STRATEGY,
    ("", "nodes"): Strategy(has_status=True, status_on_create=True),
    ("", "pods"): pods.STRATEGY,
    ("", "replicationcontrollers"): workloads.REPLICATION_CONTROLLERS,
    ("", "serviceaccounts"): Strategy(returns_deleted=True),
    ("", "services"): services.STRATEGY,
    ("apps", "deployments"): workloads.DEPLOYMENTS,
    ("apps", "replicasets"): workloads.REPLICA_SETS,
    ("coordination.k8s.io", "leases"): Strategy(create_on_update=True, validate=leases.validate),
    ("discovery.k8s.io", "endpointslices"): endpoints.SLICES,
    ("hypernetes.io", "networks"): networks.NETWORKS,
    ("hypernetes.io", "ports"): networks.PORTS,
    ("hypernetes.io", "tenants"): tenants.STRATEGY,
}
