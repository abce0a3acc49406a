"""Parts of a tenant's API that a server in the tenant's own pods serves (`apiregistration.k8s.io`).

    APIService ─► registered.py ─► availability.py: asks it for its discovery ─► condition Available
                        │                 │
                        │                 └─► offers.py ─► documents.py: the tenant's discovery and OpenAPI with it
    request ─► handlers/aggregating.py ─► reaching.py ══ tunnel of proxy/ ══► a pod of the service

identity.py says in headers who asks; the server knows by hn-apiserver's own certificate that they are to be believed.
Nothing is ever dialled: a service leads to a pod, and a pod is reached through the agent of its node. What such a
server says is bounded, read strictly, and believed of its own group alone; one that is silent costs its tenant a 503.
"""
