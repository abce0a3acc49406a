"""Hypernetes: a secure multi-tenant Kubernetes for bare metal. Every tenant a cluster, every pod a virtual machine."""
