"""What kubectl is told by its credential plugin, and what its kubeconfig says about it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from hypernetes.cli.errors import CommandError
from hypernetes.cli.identity import execcredential
from hypernetes.cli.identity.login import Person, Server, entries
from hypernetes.cli.identity.settings import Settings
from hypernetes.client import kubeconfig

END = datetime(2026, 11, 30, 13, tzinfo=UTC)


def test_the_answer_is_of_the_version_that_was_asked_in() -> None:
    said = execcredential.answer(None, "t", END)
    assert said["apiVersion"] == "client.authentication.k8s.io/v1"
    assert said["status"] == {"token": "t", "expirationTimestamp": "2026-11-30T13:00:00Z"}
    older = json.dumps({"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1beta1", "spec": {}})
    assert execcredential.answer(older, "t", END)["apiVersion"] == "client.authentication.k8s.io/v1beta1"


@pytest.mark.parametrize("asked", ["{", "[]", "{}", '{"apiVersion": "client.authentication.k8s.io/v1alpha1"}'])
def test_who_asks_otherwise_is_told(asked: str) -> None:
    with pytest.raises(CommandError):
        execcredential.answer(asked, "t", END)


def test_a_login_leaves_other_contexts_alone_and_takes_its_own_place_again(tmp_path: Path) -> None:
    path = tmp_path / ".kube" / "config"
    mine = {"name": "mine", "context": {"cluster": "c", "user": "u"}}
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({"contexts": [mine], "current-context": "mine", "preferences": {"colors": True}}))
    settings = Settings.of(None, {"OS_AUTH_URL": "http://c:5000/v3", "OS_USERNAME": "jane", "OS_PASSWORD": "hidden"})
    for url in ("https://one:6443", "https://two:6443"):
        said = entries(Server(url, b"PEM"), Person("keystone:jane@Default", "acme"), settings)
        kubeconfig.merge(path, said, current="acme")
    document = yaml.safe_load(path.read_text())
    assert [each["name"] for each in document["contexts"]] == ["mine", "acme"]
    assert document["current-context"] == "acme"
    assert document["preferences"] == {"colors": True}
    (cluster,), (user,) = document["clusters"], document["users"]
    assert cluster["cluster"]["server"] == "https://two:6443/tenants/acme"
    assert user["user"]["exec"]["env"] == [
        {"name": "OS_AUTH_URL", "value": "http://c:5000/v3"}, {"name": "OS_USERNAME", "value": "jane"},
    ]  # fmt: skip
    assert "hidden" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_no_kubeconfig_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config"
    for content in ("- a list", "clusters: {a: b}", "a: {"):
        path.write_text(content)
        with pytest.raises(kubeconfig.KubeconfigError):
            kubeconfig.merge(path, {"clusters": {"name": "a", "cluster": {}}}, current="a")
        assert path.read_text() == content
