"""Who one is to Keystone, as OpenStack's own clients are told: by the variables `OS_…`, or an entry of clouds.yaml."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|PASSCODE")
_SECURE_FILE = "OS_CLIENT_SECURE_FILE"
_FILES = {"OS_CLIENT_CONFIG_FILE": "clouds", _SECURE_FILE: "secure"}  # variable -> what the file is called
_PLACES = (Path(), Path("~/.config/openstack"), Path("/etc/openstack"))  # where the clients look, in this order
_VERSION = re.compile(r"/v[23](\.0)?/*\Z")
_DEFAULT_DOMAIN = "default"
_OF_VERSION_3 = {"v2password": "password", "v2token": "token"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Either variables or files count: the files where a cloud is named, or nothing but files says anything."""

    cloud: str | None
    variables: Mapping[str, str]  # those that begin with `OS_` and say who one is, without what is secret
    files: Mapping[str, Path]  # by the variable that names such a file

    @classmethod
    def of(cls, cloud: str | None, environment: Mapping[str, str]) -> "Settings":
        """`cloud` goes before OS_CLOUD."""
        said = {name: value for name, value in environment.items() if name.startswith("OS_") and value}
        cloud = cloud or said.get("OS_CLOUD")
        variables = {
            name: value
            for name, value in said.items()
            if name not in _FILES and name != "OS_CLOUD" and not _SECRET.search(name)
        }
        if cloud is None and variables:
            return cls(None, variables, {})
        found = {name: _found(said.get(name), stem) for name, stem in _FILES.items()}
        return cls(cloud, {}, {name: path for name, path in found.items() if path is not None})

    @property
    def key(self) -> str:
        """Under which a token is cached: another one as soon as anything here changes, a cloud's entry too."""
        seen = hashlib.sha256(json.dumps([self.cloud, sorted(self.variables.items())]).encode())
        for name, file in sorted(self.files.items()):
            seen.update(name.encode() + hashlib.sha256(file.read_bytes()).digest())
        return seen.hexdigest()

    @property
    def kept(self) -> dict[str, str]:
        """The variables by which another process with `--os-cloud` finds the same settings; nothing secret."""
        return {**self.variables, **{name: str(file) for name, file in self.files.items()}}


def _found(named: str | None, stem: str) -> Path | None:
    """The file that OpenStack's clients would read."""
    usual = [place.expanduser() / f"{stem}{ending}" for place in _PLACES for ending in (".yaml", ".yml")]
    places = [*([Path(named)] if named else []), *usual]
    return next((path.absolute() for path in places if path.is_file()), None)


def of_version_3(auth_type: str, auth: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Settings that were written for version 2, as version 3 wants them: a URL to discover from, and domains."""
    new = {name: value for name, value in auth.items() if value not in (None, "")}
    auth_type = _OF_VERSION_3.get(auth_type, auth_type)
    for old, name in (("tenant_name", "project_name"), ("tenant_id", "project_id")):
        if old in new:
            new.setdefault(name, new.pop(old))
    if "auth_url" in new:
        new["auth_url"] = without_version(new["auth_url"])
    if "username" in new and not new.keys() & {"user_domain_id", "user_domain_name", "default_domain_id"}:
        new["user_domain_id"] = _DEFAULT_DOMAIN
    if "project_name" in new and not new.keys() & {"project_domain_id", "project_domain_name", "default_domain_id"}:
        new["project_domain_id"] = _DEFAULT_DOMAIN
    return auth_type, new


def without_version(url: str) -> str:
    """Keystone's URL without `/v2.0` or `/v3` at its end: where it tells which versions it has."""
    return _VERSION.sub("", url.rstrip("/"))


def cache_directory(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CACHE_HOME") or os.path.join(environment.get("HOME") or "~", ".cache")
    return Path(base).expanduser() / "hypernetes" / "tokens"
