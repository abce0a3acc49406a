"""hn-apiserver: the Kubernetes API for all tenants, bytes in, bytes out (docs/architecture.md, "The API server").

request ─► routing ─► authn ─► authz ─► handlers ─► admission ─► registry ─► storage
                                           ▲                                   │ one watch
                               mirror ◄────┴── every read is a range of it ◄───┘
                                           └── watchers: every watch is a filter on its log
"""
