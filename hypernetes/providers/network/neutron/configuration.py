"""The provider's file. hn-controllers needs the cloud; hn-agent needs none of it, and no secret.

cloud: hypernetes                        # an entry of clouds.yaml; else OS_CLOUD, or the variables OS_…
clouds: /etc/openstack/clouds.yaml       # unless it is where OpenStack's clients look for it
externalNetwork: public                  # where tenants' routers lead (name or id); unless given, nowhere
hosts: {node-1: compute-1.example}       # what Neutron calls a node, where it isn't the node's own name
ovsdb: unix:/var/run/openvswitch/db.sock # of the node's Open vSwitch
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hypernetes.providers import files

DEFAULT_OVSDB = "unix:/var/run/openvswitch/db.sock"
_TEXTS = ("cloud", "clouds", "externalNetwork", "ovsdb")


@dataclass(frozen=True, slots=True)
class Configuration:
    cloud: str | None = None
    clouds: Path | None = None
    external_network: str = ""
    hosts: Mapping[str, str] = field(default_factory=dict)
    ovsdb: str = DEFAULT_OVSDB


def read(path: Path | None) -> Configuration:
    """Raises ValueError, which names file and field."""
    if path is None:
        return Configuration()
    said = files.read(path, _TEXTS, ("hosts",))
    hosts = said.get("hosts", {})
    if not isinstance(hosts, dict) or not all(files.is_text(word) for pair in hosts.items() for word in pair):
        raise ValueError(f"{path}: hosts must map nodes' names to Neutron's")
    return Configuration(
        said.get("cloud"), files.beside(path, said.get("clouds")), said.get("externalNetwork", ""), hosts,
        said.get("ovsdb", DEFAULT_OVSDB),
    )  # fmt: skip
