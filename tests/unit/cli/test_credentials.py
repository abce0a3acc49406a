from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hypernetes.cli import credentials
from hypernetes.cli.errors import CommandError
from hypernetes.cli.layout import Cluster, Layout
from hypernetes.cli.tenants import administrator, certificate_request, check_name
from hypernetes.client import kubeconfig

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLUSTER = Cluster("abc123", "127.0.0.1", 7443, (10250,))
ALL = [
    "apiserver", "apiserver-kubelet-client", "front-proxy-client", "admin", "scheduler", "controllers", "node-n",
]  # fmt: skip


def test_the_first_start_makes_everything_and_the_second_nothing(tmp_path: Path):
    layout = Layout.of(tmp_path)
    assert credentials.ensure(layout, CLUSTER, ["n"], NOW) == ALL
    assert credentials.ensure(layout, CLUSTER, ["n"], NOW + timedelta(days=1)) == []
    admin = kubeconfig.read(layout.admin_kubeconfig)
    assert admin.server == "https://127.0.0.1:7443"
    assert admin.ca_pem == (layout.pki / "ca.crt").read_bytes()
    assert layout.kubeconfig("node-n").exists()


def test_a_renewed_certificate_reaches_its_kubeconfig(tmp_path: Path):
    layout = Layout.of(tmp_path)
    credentials.ensure(layout, CLUSTER, ["n"], NOW)
    before = kubeconfig.read(layout.kubeconfig("scheduler"))
    assert credentials.ensure(layout, CLUSTER, ["n"], NOW + timedelta(days=61)) == ALL
    after = kubeconfig.read(layout.kubeconfig("scheduler"))
    assert after.client_cert_pem != before.client_cert_pem
    assert after.client_cert_pem == (layout.pki / "scheduler.crt").read_bytes()


def test_a_tenant_with_its_own_service_range_brings_its_address_into_the_serving_certificate(tmp_path: Path):
    layout = Layout.of(tmp_path)
    credentials.ensure(layout, CLUSTER, ["n"], NOW)
    assert credentials.ensure(layout, CLUSTER, ["n"], NOW, {"10.96.0.0/12"}) == ["apiserver"]
    assert credentials.serving_addresses("127.0.0.1", {"10.96.0.0/12"}) == [
        "127.0.0.1", "::1", "127.0.0.1", "10.254.0.1", "10.96.0.1",
    ]  # fmt: skip


def test_another_port_reaches_every_kubeconfig(tmp_path: Path):
    layout = Layout.of(tmp_path)
    credentials.ensure(layout, CLUSTER, ["n"], NOW)
    moved = Cluster("abc123", "127.0.0.1", 8443, (10250,))
    assert credentials.ensure(layout, moved, ["n"], NOW) == []
    assert kubeconfig.read(layout.kubeconfig("node-n")).server == "https://127.0.0.1:8443"


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a" * 64, "a.b", "system", "*"])
def test_what_cannot_be_a_tenants_name_is_one_sentence(name: str):
    with pytest.raises(CommandError):
        check_name(name)


def test_a_tenants_administrator_is_master_of_the_tenant():
    request = certificate_request(administrator("acme"), b"pem")
    assert request["spec"] == {
        "request": "cGVt",
        "user": "acme-admin",
        "groups": ["system:masters"],
        "expirationSeconds": 365 * 86400,
    }
