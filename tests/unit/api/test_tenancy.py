import uuid

import pytest

from hypernetes.api import tenancy
from hypernetes.api.tenancy import TenantSAN


def test_the_san_of_a_certificate_is_read_as_it_was_written() -> None:
    san = TenantSAN("ab12cd", "acme", str(uuid.uuid4()))
    assert TenantSAN.parse(str(san)) == san


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://ab12cd/tenants/acme/x",
        "hypernetes://ab/tenants/acme",
        "hypernetes://ab/tenants/a/b/" + "0" * 36,
        "spiffe://x",
    ],
)
def test_any_other_uri_names_no_tenant(uri: str) -> None:
    assert TenantSAN.parse(uri) is None


def test_the_first_addresses_of_the_service_range_are_the_tenants_own() -> None:
    assert tenancy.kubernetes_address("10.254.0.0/16") == "10.254.0.1"
    assert tenancy.dns_address("10.254.0.0/16") == "10.254.0.2"


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a", True),
        ("a-b", True),
        ("A", False),
        ("-a", False),
        ("a.b", False),
        ("a" * 64, False),
        ("a\n", False),
        ("", False),
    ],
)
def test_a_tenants_name_is_a_dns_label(name: str, good: bool) -> None:
    assert tenancy.is_dns_label(name) is good


def test_the_system_tenants_uid_depends_on_the_cluster_alone() -> None:
    assert tenancy.system_tenant_uid("a") == tenancy.system_tenant_uid("a") != tenancy.system_tenant_uid("b")
