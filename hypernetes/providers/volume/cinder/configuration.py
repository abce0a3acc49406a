"""The provider's sections. That of hn-controllers:

cloud: hypernetes                        # an entry of clouds.yaml, whose project is that of services
clouds: /etc/openstack/clouds.yaml       # unless it is where OpenStack's clients look for it
types: [fast, slow]                      # the volume types that StorageClasses may name; without: all the project sees
project: 5e1f…                           # where volumes of tenants without a project lie; without: they get none
ceph:                                    # by rbd_secret_uuid of Cinder's back end
  7d8c1a2e-…: {user: hypernetes, keyring: /etc/hypernetes/ceph.client.hypernetes.keyring}

Of that of hn-agent only `ceph` counts, with the node's own user.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypernetes.providers.identity.base import ConfigurationError
from hypernetes.providers.identity.keystone import configuration as keystone

if TYPE_CHECKING:
    from openstack.config.cloud_region import CloudRegion

DRIVER = "cinder.csi.openstack.org"
_KNOWN = frozenset({"cloud", "clouds", "types", "project", "ceph"})


@dataclass(frozen=True, slots=True)
class Credential:
    """A user of a Ceph cluster. The keyring is read when it is needed: keys are changed while we run."""

    user: str
    keyring: Path


@dataclass(frozen=True, slots=True)
class Configuration:
    cloud: str | None = None
    clouds: Path | None = None
    types: frozenset[str] | None = None
    project: str | None = None
    ceph: Mapping[str, Credential] = field(default_factory=dict)


def of_control(said: Mapping[str, Any]) -> Configuration:
    """Raises ConfigurationError."""
    _check(said)
    types = said.get("types")
    if types is not None and not (isinstance(types, list) and all(isinstance(each, str) for each in types)):
        raise ConfigurationError(f"{DRIVER}: types must be a list of names")
    clouds = said.get("clouds")
    return Configuration(
        said.get("cloud"), None if clouds is None else Path(clouds), None if types is None else frozenset(types),
        said.get("project"), _credentials(said),
    )  # fmt: skip


def of_node(said: Mapping[str, Any]) -> Configuration:
    """Raises ConfigurationError."""
    _check(said)
    return Configuration(ceph=_credentials(said))


def region(configuration: Configuration) -> "CloudRegion":
    """What `clouds.yaml` says. Reads files. Raises ConfigurationError."""
    return keystone.region(keystone.Configuration(DRIVER, configuration.cloud, configuration.clouds))


def _check(said: Mapping[str, Any]) -> None:
    if unknown := sorted(map(str, said.keys() - _KNOWN)):
        raise ConfigurationError(f"{DRIVER}: {unknown[0]} is not known here")
    for name in ("cloud", "clouds", "project"):
        if name in said and not (isinstance(said[name], str) and said[name]):
            raise ConfigurationError(f"{DRIVER}: {name} must be text")


def _credentials(said: Mapping[str, Any]) -> dict[str, Credential]:
    users = said.get("ceph", {})
    if not isinstance(users, Mapping):
        raise ConfigurationError(f"{DRIVER}: ceph must map the rbd_secret_uuid of back ends to users")
    found = {}
    for secret, user in users.items():
        if not isinstance(user, Mapping) or set(user) != {"user", "keyring"}:
            raise ConfigurationError(f"{DRIVER}: ceph: {secret} must have user and keyring")
        found[str(secret)] = Credential(str(user["user"]), Path(str(user["keyring"])))
    return found
