"""What `clouds.yaml` says of a cloud, for every provider that uses OpenStack."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openstack.config.cloud_region import CloudRegion


class UnknownCloud(ValueError):
    """There is no such cloud, or not enough is said of it; the message names file and cloud, and no secret."""


def region(cloud: str | None, clouds: Path | None) -> "CloudRegion":
    """An entry of a file. Without a name `OS_CLOUD`, or the variables `OS_…`; without a file the one that OpenStack's
    clients look for. Reads files. Raises UnknownCloud."""
    # Here, since they are large: a process without OpenStack doesn't have them in its memory.
    from openstack.config import OpenStackConfig
    from openstack.exceptions import ConfigException

    if clouds is not None and not clouds.exists():
        raise UnknownCloud(f"{clouds} is not there")
    files = None if clouds is None else [str(clouds)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an optional part of the library
            found = OpenStackConfig(config_files=files, app_name="hypernetes").get_one(cloud=cloud)
    except ConfigException as error:
        raise UnknownCloud(str(error)) from error
    if not found.get_auth_args().get("auth_url"):
        raise UnknownCloud(f"the cloud {found.name!r} has no auth_url")
    return found
