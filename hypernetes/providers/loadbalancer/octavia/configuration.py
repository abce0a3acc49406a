"""The provider's file:

cloud: hypernetes                        # an entry of clouds.yaml; else OS_CLOUD, or the variables OS_…
clouds: /etc/openstack/clouds.yaml       # unless it is where OpenStack's clients look for it
provider: ovn                            # of Octavia's: ovn (the default) or amphora
floatingNetwork: public                  # where floating IPs are from (name or id); unless given, none are made
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

_KNOWN = ("cloud", "clouds", "provider", "floatingNetwork")


@dataclass(frozen=True, slots=True)
class Configuration:
    cloud: str | None = None
    clouds: Path | None = None
    provider: str = "ovn"
    floating_network: str = ""


def read(path: Path | None) -> Configuration:
    """Raises ValueError, which names file and field."""
    if path is None:
        return Configuration()
    try:
        said = yaml.safe_load(path.read_bytes()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path} can't be read: {error}") from error
    if not isinstance(said, dict):
        raise ValueError(f"{path} must be a mapping")
    if unknown := sorted(map(str, said.keys() - {*_KNOWN})):
        raise ValueError(f"{path}: {unknown[0]} is not known here")
    for name, value in said.items():
        if not isinstance(value, str) or not value:
            raise ValueError(f"{path}: {name} must be text")
    clouds = said.get("clouds")
    return Configuration(
        said.get("cloud"), None if clouds is None else path.parent / clouds, said.get("provider", "ovn"),
        said.get("floatingNetwork", ""),
    )  # fmt: skip
