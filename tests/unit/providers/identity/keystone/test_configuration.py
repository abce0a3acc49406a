"""The file of the identity provider `keystone`."""

import subprocess
import sys
from pathlib import Path

import pytest

from hypernetes.providers.identity.base import ConfigurationError
from hypernetes.providers.identity.keystone import configuration


def written(directory: Path, text: str) -> Path:
    file = directory / "keystone.yaml"
    file.write_text(text)
    return file


def test_projects_with_the_tag_are_tenants_unless_told_otherwise(tmp_path: Path) -> None:
    assert configuration.read(None).tag == "hypernetes"
    assert configuration.read(written(tmp_path, "")).tag == "hypernetes"
    found = configuration.read(written(tmp_path, "cloud: c\nclouds: clouds.yaml\nprojects: {domain: customers}\n"))
    assert (found.cloud, found.clouds, found.tag, found.domain) == ("c", tmp_path / "clouds.yaml", "", "customers")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- a", "mappings"), ("projects: [a]", "mappings"), ("cloud: [a]", "cloud must be text"), ("cloud: ''", "text"),
        ("projects: {}", "a tag or a domain"), ("projects: {tag: a, domain: b}", "a tag or a domain"),
        ("projects: {tag: 3}", "text"), ("project: {tag: a}", "project is not known"), ("a: {", "can't be read"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_its_name_and_the_field(tmp_path: Path, text: str, why: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigurationError, match=why) as caught:
        configuration.read(file)
    assert str(file) in str(caught.value)


def test_a_cloud_that_is_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: {other: {auth: {auth_url: 'http://127.0.0.1'}}}")
    for text in ("cloud: mine\nclouds: clouds.yaml", "cloud: mine\nclouds: none.yaml"):
        with pytest.raises(ConfigurationError, match=r"mine|none\.yaml"):
            configuration.region(configuration.read(written(tmp_path, text)))


def test_who_does_not_use_keystone_has_nothing_of_openstacks_in_memory() -> None:
    seen = (
        "import sys, hypernetes.apiserver.main, hypernetes.controllers.main, hypernetes.cli.main;"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True).stdout
    for library in ("keystoneauth1", "keystoneclient", "keystonemiddleware", "openstack", "oslo_config", "requests"):
        assert f"'{library}'" not in loaded, library
