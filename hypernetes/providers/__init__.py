"""The parts that the surroundings bring: so far the tenants' networks.

An area has `base` (the interface) and `local` (complete, needs only Linux). Providers are found by entry point
(`hypernetes.providers.<area>`), so that a third party ships its own.
"""
