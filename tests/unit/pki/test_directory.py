import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from hypernetes.pki import PkiDirectory
from hypernetes.pki.certificates import load_certificate

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def pki(tmp_path: Path) -> PkiDirectory:
    directory = PkiDirectory(tmp_path / "pki", "abc123")
    directory.ensure_authority(NOW)
    return directory


def test_the_authority_is_made_once(pki: PkiDirectory):
    before = pki.ca_certificate.read_bytes()
    PkiDirectory(pki.path, "abc123").ensure_authority(NOW + timedelta(days=1))
    assert pki.ca_certificate.read_bytes() == before


def test_keys_are_readable_by_their_owner_only(pki: PkiDirectory):
    pki.ensure("admin", NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in pki.path.iterdir()}
    names = ("ca", "front-proxy-ca", "admin")
    assert modes == {f"{name}.{kind}": mode for name in names for kind, mode in (("crt", 0o644), ("key", 0o600))}
    assert stat.S_IMODE(pki.path.stat().st_mode) == 0o700


def test_a_good_certificate_stays(pki: PkiDirectory):
    assert pki.ensure("apiserver", NOW, addresses=["127.0.0.1"])
    assert not pki.ensure("apiserver", NOW + timedelta(days=59), addresses=["127.0.0.1"])


def test_a_certificate_in_its_last_third_is_renewed(pki: PkiDirectory):
    pki.ensure("admin", NOW)
    assert pki.ensure("admin", NOW + timedelta(days=61))
    assert load_certificate(pki.certificate("admin").read_bytes()).not_valid_after_utc == NOW + timedelta(days=151)


def test_a_certificate_that_should_list_another_address_is_issued_again(pki: PkiDirectory):
    pki.ensure("apiserver", NOW, addresses=["127.0.0.1"])
    assert pki.ensure("apiserver", NOW, addresses=["127.0.0.1", "10.254.0.1"])


def test_a_certificate_that_lists_more_addresses_than_asked_for_stays(pki: PkiDirectory):
    pki.ensure("apiserver", NOW, addresses=["127.0.0.1", "10.254.0.1"])
    assert not pki.ensure("apiserver", NOW, addresses=["127.0.0.1"])


def test_a_certificate_that_names_another_cluster_is_issued_again(pki: PkiDirectory):
    pki.ensure("admin", NOW)
    assert PkiDirectory(pki.path, "xyz789").ensure("admin", NOW)


def test_a_certificate_of_another_authority_is_issued_again(pki: PkiDirectory, tmp_path: Path):
    other = PkiDirectory(tmp_path / "other", "abc123")
    other.ensure_authority(NOW)
    other.ensure("admin", NOW)
    for path in (other.certificate("admin"), other.key("admin")):
        (pki.path / path.name).write_bytes(path.read_bytes())
    assert pki.ensure("admin", NOW)


@pytest.mark.parametrize("damage", [b"", b"not a key"])
def test_a_damaged_key_is_replaced_with_its_certificate(pki: PkiDirectory, damage: bytes):
    pki.ensure("admin", NOW)
    pki.key("admin").write_bytes(damage)
    assert pki.ensure("admin", NOW)
    assert not pki.ensure("admin", NOW)


def test_a_key_that_belongs_to_another_certificate_is_replaced(pki: PkiDirectory):
    pki.ensure("admin", NOW)
    pki.ensure("scheduler", NOW)
    pki.key("admin").write_bytes(pki.key("scheduler").read_bytes())
    assert pki.ensure("admin", NOW)


def test_a_failed_write_leaves_the_old_file_and_no_other(pki: PkiDirectory, monkeypatch: pytest.MonkeyPatch):
    pki.ensure("admin", NOW)
    before = {path: path.read_bytes() for path in pki.path.iterdir()}

    def disk_full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", disk_full)
    with pytest.raises(OSError, match="No space"):
        pki.ensure("admin", NOW + timedelta(days=61))
    assert {path: path.read_bytes() for path in pki.path.iterdir()} == before


def test_the_front_proxy_has_an_authority_of_its_own(pki: PkiDirectory):
    pki.ensure("front-proxy-client", NOW)
    certificate = x509.load_pem_x509_certificate(pki.certificate("front-proxy-client").read_bytes())
    assert pki.front_proxy_authority.issued(certificate)
    assert not pki.authority.issued(certificate), "nobody gets such a one by a signing request"
    assert not pki.ensure("front-proxy-client", NOW)
