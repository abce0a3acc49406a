"""The parts that the surroundings bring: identity, network, load balancers, volumes (docs/providers.md).

Each area has `base` (the interface), `local` (complete, needs only Linux) and the OpenStack implementation. They are
found by entry point (`hypernetes.providers.<area>`), so that a third party ships its own.
"""
