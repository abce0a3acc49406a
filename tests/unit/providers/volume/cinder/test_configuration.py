"""The provider's sections, and the keyrings that they name."""

from pathlib import Path
from typing import Any

import pytest

from hypernetes.providers.identity.base import ConfigurationError
from hypernetes.providers.volume.base import Unavailable
from hypernetes.providers.volume.cinder import ceph, configuration
from hypernetes.providers.volume.cinder.configuration import Credential


def test_what_it_may_say() -> None:
    said = configuration.of_control({
        "cloud": "c", "clouds": "/etc/clouds.yaml", "types": ["fast"], "project": "p",
        "ceph": {"s-1": {"user": "hypernetes", "keyring": "/etc/k"}},
    })  # fmt: skip
    assert said.types == {"fast"}
    assert said.ceph == {"s-1": Credential("hypernetes", Path("/etc/k"))}
    assert configuration.of_control({}).types is None


@pytest.mark.parametrize(
    "said",
    [
        {"cluod": "c"}, {"cloud": ""}, {"types": "fast"}, {"types": [1]}, {"ceph": []}, {"ceph": {"s": {"user": "u"}}},
        {"ceph": {"s": {"user": "u", "keyring": "k", "key": "QUE="}}},
    ],
)  # fmt: skip
def test_nonsense_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        configuration.of_control(said)
    assert "QUE=" not in str(refusal.value)


def test_a_node_knows_no_cloud() -> None:
    said = configuration.of_node({"cloud": "c", "ceph": {"s": {"user": "u", "keyring": "/k"}}})
    assert said == configuration.Configuration(ceph={"s": Credential("u", Path("/k"))})
    with pytest.raises(ConfigurationError):
        configuration.of_node({"keyring": "k"})


def test_a_keyring_may_hold_several_users(tmp_path: Path) -> None:
    keyring = tmp_path / "keyring"
    keyring.write_text('[client.a]\n\tkey = QUE=\n\tcaps mon = "x"\n[client.b]\n\tkey = QkI=\n')
    assert ceph.key(Credential("b", keyring)) == "QkI="
    for missing in (Credential("c", keyring), Credential("a", tmp_path / "none")):
        with pytest.raises(Unavailable) as refusal:
            ceph.key(missing)
        assert "QUE=" not in refusal.value.message
