"""Who asked for what, and what came of it: the audit log, in the form and by the policy of audit.k8s.io/v1.

    request ─► policy ─► level None: nothing more
                  │
                  ▼ as stages are reached (recording.py)
               events ─ one line of JSON each ─► log.py      a file that rotates, or standard output
                                              └► webhook.py  lists of events, to somebody else's server

policy.py      which requests are of interest, and how much of them
events.py      an event's form
hiding.py      what is never told, whatever the policy says
recording.py   the events of one request
log.py         + rotation.py
webhook.py     + webhookconfig.py
counts.py      what metrics tell of it

Policy, form and hiding are pure. An event costs the request its making; writing and sending are done beside it, from
bounded buffers. What is lost is counted. https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/
"""
