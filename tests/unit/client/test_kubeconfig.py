import stat
from pathlib import Path

import pytest
import yaml

from hypernetes.client import kubeconfig
from hypernetes.client.kubeconfig import Kubeconfig, KubeconfigError


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "admin.kubeconfig"
    config = Kubeconfig("https://127.0.0.1:6443", b"ca", b"cert", b"key", "token", "web", (path,))
    kubeconfig.write(path, config, name="hypernetes", user="admin")
    assert kubeconfig.read(path) == config
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_files_it_refers_to_are_found_beside_it(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.crt").write_bytes(b"ca")
    (tmp_path / "token").write_bytes(b"secret\n")
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://x/", "certificate-authority": "pki/ca.crt"}}],
        "users": [{"name": "u", "user": {"tokenFile": "token"}}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(document))
    config = kubeconfig.read(path)
    assert (config.server, config.ca_pem, config.token) == ("https://x", b"ca", "secret")
    assert config.files == (path, tmp_path / "token", tmp_path / "pki" / "ca.crt")


USER = "users: [{name: u, user: %s}]"
HEAD = "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
CLUSTER = "clusters: [{name: k, cluster: {server: 'https://x'}}]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a kubeconfig"),
        ("{", "not YAML"),
        ("kind: Config", "no current-context"),
        (HEAD, "no cluster named 'k'"),
        (HEAD + CLUSTER, "no user named 'u'"),
        (HEAD + "clusters: 3", "no cluster named 'k'"),
        (HEAD + CLUSTER + USER % "{exec: {command: login}}", "'exec'"),
        (HEAD + CLUSTER + USER % "{client-key-data: '!'}", "not base64"),
        (HEAD + CLUSTER + USER % "{client-key-data: a2V5}", "needs its key"),
        (HEAD + CLUSTER + USER % "{client-key: missing.key}", "cannot read"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeconfigError, match=message):
        kubeconfig.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match=r"cannot read .*nowhere: No such file"):
        kubeconfig.read(tmp_path / "nowhere")
