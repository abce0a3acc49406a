"""What our own processes may do, and what a tenant's administrator may not: data, one line per need."""

from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.authz.rules import ANY, CHANGE, READ, WRITE, Rule

HYPERNETES = "hypernetes.io"
_COORDINATION = "coordination.k8s.io"
_SYSTEM = (SYSTEM_TENANT,)
_EVENTS = Rule(("create", *CHANGE), ("events",), ("", "events.k8s.io"))
_ELECTION = Rule(
    ("get", "list", "watch", "create", *CHANGE),
    ("leases",),
    (_COORDINATION,),
    tenants=_SYSTEM,
    namespaces=("kube-system",),
)

SCHEDULER = (
    Rule(READ, ("pods", "nodes", "namespaces", "services", "replicationcontrollers")),
    Rule(READ, ("replicasets", "deployments"), ("apps",)),
    Rule(READ, ("tenants",), (HYPERNETES,)),
    Rule(("create",), ("pods/binding", "bindings")),
    Rule(CHANGE, ("pods/status",)),
    # what gives way to pods of higher priority, and which of it budgets protect
    Rule(("delete",), ("pods",)),
    Rule(READ, ("poddisruptionbudgets",), ("policy",)),
    # which volume a claim gets, or where one is made for it
    Rule((*READ, *CHANGE), ("persistentvolumes", "persistentvolumeclaims")),
    Rule(READ, ("storageclasses",), ("storage.k8s.io",)),
    _EVENTS,
    _ELECTION,
)

# Controllers create, change and delete every kind: namespaces and owners take what they hold with them. What they
# never need: to enter a pod, or to mint a credential.
CONTROLLERS_NEVER = (
    Rule((ANY,), ("pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy", "nodes/proxy")),
    Rule((ANY,), ("serviceaccounts/token",)),
    Rule((ANY,), ("tenants/certificate", "tenants/tokenkeys", "users/password", "users/token"), (HYPERNETES,)),
)
# And to make a tenant, unless tenants come from an identity provider.
MAKES_TENANTS = (Rule(("create",), ("tenants",), (HYPERNETES,)),)

# A tenant's administrator rules the tenant, except over what the provider keeps in it: where pods run and what became
# of them (the scheduler counts by it), which addresses are taken, the nodes, which drivers they have and what volumes
# are attached to them.
TENANT_NEVER = (
    Rule(WRITE, ("nodes", "nodes/status")),
    Rule((ANY,), ("nodes/proxy",)),
    Rule(("create",), ("bindings", "pods/binding")),
    Rule(WRITE, ("pods/status",)),
    Rule(WRITE, ("networks/status",), ("", HYPERNETES)),
    Rule(WRITE, ("ports", "ports/status"), (HYPERNETES,)),
    Rule((ANY,), ("nodevolumes", "nodevolumes/status"), (HYPERNETES,)),
    Rule(WRITE, ("csinodes", "volumeattachments", "volumeattachments/status"), ("storage.k8s.io",)),
    Rule((ANY,), ("tenants", "tenants/status", "tenants/certificate", "tenants/tokenkeys"), (HYPERNETES,)),
)
