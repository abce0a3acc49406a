"""What OpenStack's variables and clouds.yaml say, and how a token is found again by it."""

from pathlib import Path
from typing import Any

import pytest

from hypernetes.cli.identity.settings import Settings, of_version_3, without_version

OPENRC = {
    "OS_AUTH_URL": "https://cloud:5000/v3", "OS_USERNAME": "jane", "OS_PASSWORD": "secret", "OS_PROJECT_NAME": "acme",
    "OS_APPLICATION_CREDENTIAL_SECRET": "s", "OS_TOKEN": "t", "OS_PASSCODE": "123456", "HOME": "/home/jane",
}  # fmt: skip


def test_what_is_kept_for_kubectl_has_no_secret() -> None:
    kept = Settings.of(None, OPENRC).kept
    assert kept == {key: OPENRC[key] for key in ("OS_AUTH_URL", "OS_USERNAME", "OS_PROJECT_NAME")}


def test_a_token_is_cached_for_who_asks_where_and_not_for_their_password(tmp_path: Path) -> None:
    key = Settings.of(None, OPENRC).key
    assert Settings.of(None, {**OPENRC, "OS_PASSWORD": "another"}).key == key
    assert Settings.of(None, Settings.of(None, OPENRC).kept).key == key
    for changed in ({"OS_PROJECT_NAME": "globex"}, {"OS_USERNAME": "john"}, {"OS_AUTH_URL": "https://other:5000"}):
        assert Settings.of(None, {**OPENRC, **changed}).key != key


def test_kubectl_finds_the_token_from_another_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for directory in (here, there):
        directory.mkdir()
        (directory / "clouds.yaml").write_text(f"clouds: {{mine: {{region_name: {directory.name}}}}}")
    (here / "secure.yaml").write_text("clouds: {mine: {auth: {password: hidden}}}")
    monkeypatch.chdir(here)
    of_file, of_variables = Settings.of("mine", {"HOME": "/"}), Settings.of(None, OPENRC)
    assert of_file.kept == {
        "OS_CLIENT_CONFIG_FILE": str(here / "clouds.yaml"), "OS_CLIENT_SECURE_FILE": str(here / "secure.yaml"),
    }  # fmt: skip
    of_file_key, of_variables_key = of_file.key, of_variables.key
    monkeypatch.chdir(there)
    assert Settings.of("mine", of_file.kept).key == of_file_key
    assert Settings.of(None, of_variables.kept).key == of_variables_key
    assert Settings.of("mine", {}).key != of_file_key


def test_another_entry_of_clouds_yaml_is_another_token(tmp_path: Path) -> None:
    file = tmp_path / "clouds.yaml"
    file.write_text("clouds: {mine: {}}")
    settings = Settings.of("mine", {"OS_CLIENT_CONFIG_FILE": str(file)})
    key = settings.key
    assert settings.kept == {"OS_CLIENT_CONFIG_FILE": str(file)}
    assert Settings.of("mine", {**settings.kept, "OS_USERNAME": "elsewhere"}).key == key
    assert Settings.of("other", settings.kept).key != key
    file.write_text("clouds: {mine: {auth: {}}}")
    assert Settings.of("mine", settings.kept).key != key


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://cloud:5000/v2.0", "http://cloud:5000"), ("http://cloud:5000/v3/", "http://cloud:5000"),
        ("https://cloud/identity/v2.0/", "https://cloud/identity"), ("https://cloud/identity", "https://cloud/identity"),
    ],
)  # fmt: skip
def test_a_url_of_any_version_leads_to_where_versions_are_told(url: str, wanted: str) -> None:
    assert without_version(url) == wanted


@pytest.mark.parametrize(
    ("auth_type", "auth", "wanted"),
    [
        (
            "v2password",
            {"auth_url": "http://c:35357/v2.0", "username": "demo", "password": "p", "tenant_name": "demo"},
            ("password", {"auth_url": "http://c:35357", "username": "demo", "password": "p", "project_name": "demo",
                          "user_domain_id": "default", "project_domain_id": "default"}),
        ),
        (
            "password",
            {"auth_url": "http://c", "user_id": "u", "password": "p", "project_id": "p1", "project_name": ""},
            ("password", {"auth_url": "http://c", "user_id": "u", "password": "p", "project_id": "p1"}),
        ),
        (
            "password",
            {"username": "u", "user_domain_name": "d", "project_name": "p", "project_domain_name": "d"},
            ("password", {"username": "u", "user_domain_name": "d", "project_name": "p", "project_domain_name": "d"}),
        ),
        (
            "v3applicationcredential",
            {"auth_url": "http://c/v3", "application_credential_id": "i", "application_credential_secret": "s"},
            ("v3applicationcredential", {"auth_url": "http://c", "application_credential_id": "i",
                                         "application_credential_secret": "s"}),
        ),
    ],
    ids=["of version 2", "ids", "domains", "application credential"],
)  # fmt: skip
def test_settings_become_those_of_version_3(auth_type: str, auth: dict[str, Any], wanted: Any) -> None:
    assert of_version_3(auth_type, auth) == wanted
