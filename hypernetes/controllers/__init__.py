"""Makes the cluster as its objects say: one module per controller, all level-triggered.

      informers.py                 controller.py                        writes.py
    ┌──────────────┐  keys   ┌───────────────────────┐  writes    ┌───────────────┐
    │ one per kind,│────────►│ WorkQueue ► reconcile │───────────►│ create, update│──► API server
    │ all tenants  │         │   ▲          │        │            │ delete        │
    └──────────────┘         │   └ back-off ┘ error  │            └───────────────┘
                             └───────────────────────┘

A controller reads the caches, lets a plain function decide (state in, writes out), and carries the writes out. It
keeps nothing that a restart would miss: what it needs to know of its own past is in the objects. `expectations.py`
only bridges the moment between a write and its return through the cache; after a restart the caches are fresh.

    pods.py, ownership.py         facts on pods; who controls whom, adoption and release
    podcontroller.py              what all that own pods do alike
    replicas.py                   the core of replicasets.py and replicationcontrollers.py
    deployments.py                + rollout.py (how many of which), revisions.py (templates, hashes, history),
                                  conditions.py (status)
    statefulsets/                 numbered pods with claims of their own; history.py: the templates they have had
    daemonsets/                   a pod on each node that may have one
    jobs/                         Jobs: pods that are to succeed a number of times, each counted once
    cronjobs.py, ttlafterfinished.py    Jobs by schedule, and their end
    endpoints.py, endpointslices.py     + servicecontroller.py, addresses.py (which pods, which ports)
    endpointslicemirroring.py     slices of Endpoints that people write themselves
    namespaces.py                 tear-down, to the last object (+ contents.py)
    nodelifecycle.py              + taints.py, zones.py (how fast lost nodes are emptied); evictions.py
    garbagecollector.py           owner references
    autoscaling/                  HorizontalPodAutoscalers: replicas by load
    disruption.py                 what disruption budgets allow (+ disruptionbudgets.py)
    resourcequotas.py             which quotas are in force; the API server counts
    storageprotection.py          claims and volumes that are deleted in use
    volumes/                      claims bound, made, attached, grown, copied
    servicecidrs.py               ranges that services have addresses of
    networks.py, ports.py         networks by their provider; address claims nobody holds any more
    projects.py                   tenants of an identity provider's projects
    serviceaccounts.py            what every namespace has
    clusterroleaggregation.py     ClusterRoles that are made up of others
    tokencleaner.py, csrcleaner.py    bootstrap tokens and signing requests that are over
    podgarbage.py                 pods that ended and that nobody cleans up
    manager.py, main.py           runs them for the tenants of this process: those that selection.py chooses
    assignment.py, membership.py, shard.py    which tenants those are, of several processes
    glimpses.py, memory.py        what is kept of each pod; the garbage collector
    observing.py                  health and metrics
"""
