"""What may be said of pods and in pod templates, one module per part of a pod; pure.

    specs ──► volumes (volumesources, projections) ──► containers (environment, mounts, handlers, resources)
          ──► security ──► affinity, spreads, tolerations, naming
    annotations · labelkeys · qos        what a pod's metadata and its spec say together
    updates · resizing · statuses        what may change, by which subresource
    warnings                             what is allowed, and seldom meant

Each `validate…` takes a part and the path of its field and returns the causes of an Invalid. Paths are upstream's, its
misspellings included, since clients match on them.
"""
