"""Finds a node for each pod that has none, and binds it there.

informers (pods, nodes, claims, volumes, classes of all tenants)
    │ changes                                  wake
    ├───────────────► queue ◄───────────────────────────────┐
    │                   │ next pod: band, share, priority   │ no node: waits for
    ▼                   ▼                                   │ an event, or its back-off
snapshot ◄──assume── cycle ── filters ── scores ── verdict ─┤
(arrays)                                      │ node        │
    ▲                                         ▼             │
    └────── forget, if it failed ───────── binder ──────────┘

demands    what a pod asks of its node, in a form that equal pods share
relations  what it asks of other pods of its tenant, and is to them
snapshot   the cluster as arrays: a row per node, a column per resource, label key and taint
filters    which nodes may take a pod (a mask over the rows), and why the others don't
neighbours which nodes the pods that are there allow, and make better
scores     which of those is best (0 to 100 per score)
cycle      one decision: pure, no I/O, no clock
preemption who gives way to a pod that finds no node
volumes    what a pod's claims ask of its node, and what is to be written so that they get volumes there
queue      who is next: pure, told the time
binder     writes bindings, and why a pod has no node, through the API
loop       puts them together
assume     to count a pod on its node from the decision on, before the API server has told of it
"""
