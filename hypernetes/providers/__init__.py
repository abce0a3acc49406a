"""The parts that the surroundings bring: the tenants' networks, and who people are.

An area has `base` (the interface); networks have `local` (complete, needs only Linux). Providers are found by
entry point (`hypernetes.providers.<area>`), so that a third party ships its own.
"""
