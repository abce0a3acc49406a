"""The provider's file."""

from pathlib import Path

import pytest

from hypernetes.providers.network.neutron import configuration


def test_nothing_is_needed() -> None:
    assert configuration.read(None).ovsdb == configuration.DEFAULT_OVSDB


def test_a_path_is_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "neutron.yaml"
    file.write_text("{cloud: one, clouds: clouds.yaml, hosts: {n1: compute-1}}")
    found = configuration.read(file)
    assert (found.cloud, found.clouds, found.hosts) == ("one", tmp_path / "clouds.yaml", {"n1": "compute-1"})


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("[a]", "must be a mapping"), ("{password: x}", "password is not known"), ("{cloud: 3}", "cloud must be text"),
        ("{hosts: [a]}", "hosts must map"), ("{hosts: {a: 1}}", "hosts must map"), ("{", "can't be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, said: str, complaint: str) -> None:
    file = tmp_path / "neutron.yaml"
    file.write_text(said)
    with pytest.raises(ValueError, match=complaint) as caught:
        configuration.read(file)
    assert str(file) in str(caught.value)
