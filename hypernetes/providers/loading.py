"""Finds providers by entry point, so that a third party ships its own as a package of its own.

factory = load("network", "local")
provider = factory(cluster_id=…, node_name=…, state_dir=…)
"""

from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any

_OURS = "hypernetes"  # the distribution


class NoSuchProviderError(LookupError):
    """No installed package has a provider of this name."""


def load(area: str, name: str) -> Any:
    """The factory of provider `name` in the group `hypernetes.providers.<area>`; its arguments are the area's. A
    network provider of another package's runs in a process of its own (`network/hosted`).

    Raises NoSuchProviderError, which names those that there are.
    """
    found = entry(area, name)
    if area == "network" and found.dist is not None and found.dist.name != _OURS:
        from hypernetes.providers.network import hosted

        return partial(hosted.make, name)
    return found.load()


def entry(area: str, name: str) -> EntryPoint:
    """Raises NoSuchProviderError."""
    found = entry_points(group=f"hypernetes.providers.{area}")
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none"
        raise NoSuchProviderError(f"there is no {area} provider {name!r}; installed are: {known}")
    return found[name]
