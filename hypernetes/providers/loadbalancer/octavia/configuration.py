"""The provider's file:

cloud: hypernetes                        # an entry of clouds.yaml; else OS_CLOUD, or the variables OS_…
clouds: /etc/openstack/clouds.yaml       # unless it is where OpenStack's clients look for it
provider: ovn                            # of Octavia's: ovn (the default) or amphora
floatingNetwork: public                  # where floating IPs are from (name or id); unless given, none are made
"""

from dataclasses import dataclass
from pathlib import Path

from hypernetes.providers import files

_TEXTS = ("cloud", "clouds", "provider", "floatingNetwork")


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
    said = files.read(path, _TEXTS)
    return Configuration(
        said.get("cloud"), files.beside(path, said.get("clouds")), said.get("provider", "ovn"),
        said.get("floatingNetwork", ""),
    )  # fmt: skip
