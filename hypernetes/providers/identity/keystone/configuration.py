"""The provider's file, all of it optional:

cloud: hypernetes                        # an entry of clouds.yaml; else OS_CLOUD, or the variables OS_…
clouds: /etc/openstack/clouds.yaml       # unless it is where OpenStack's clients look for it
projects: {tag: hypernetes}              # which projects are tenants: those with this tag,
# projects: {domain: customers}          # or all of this domain (its name or id)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hypernetes.providers import clouds
from hypernetes.providers.identity.base import ConfigurationError

if TYPE_CHECKING:
    from openstack.config.cloud_region import CloudRegion

DEFAULT_TAG = "hypernetes"


@dataclass(frozen=True, slots=True)
class Configuration:
    file: str = "the identity provider keystone"  # as messages call it
    cloud: str | None = None
    clouds: Path | None = None
    tag: str = ""  # of the projects that are tenants
    domain: str = ""  # whose projects are tenants; one of the two is given


def read(path: Path | None) -> Configuration:
    """Raises ConfigurationError."""
    if path is None:
        return Configuration(tag=DEFAULT_TAG)
    try:
        said = yaml.safe_load(path.read_bytes()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} can't be read: {error}") from error
    projects = said.get("projects", {"tag": DEFAULT_TAG}) if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(projects, dict):
        raise ConfigurationError(f"{path}: it and its `projects` must be mappings")
    if unknown := sorted(map(str, said.keys() - {"cloud", "clouds", "projects"})):
        raise ConfigurationError(f"{path}: {unknown[0]} is not known here")
    if len(projects) != 1 or not projects.keys() <= {"tag", "domain"}:
        raise ConfigurationError(f"{path}: projects must have a tag or a domain, and not both")
    for where, value in (*said.items(), *(("projects", each) for each in projects.values())):
        if where != "projects" or value is not projects:
            _check_text(path, where, value)
    file = said.get("clouds")
    return Configuration(
        str(path), said.get("cloud"), None if file is None else path.parent / file,
        projects.get("tag", ""), projects.get("domain", ""),
    )  # fmt: skip


def _check_text(path: Path, where: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{path}: {where} must be text")


def region(configuration: Configuration) -> "CloudRegion":
    """What `clouds.yaml` and the environment say of the cloud. Reads files. Raises ConfigurationError."""
    try:
        return clouds.region(configuration.cloud, configuration.clouds)
    except clouds.UnknownCloud as error:
        raise ConfigurationError(f"{configuration.file}: {error}") from error
