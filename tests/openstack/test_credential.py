"""`hn credential` with each kind of credential that OpenStack's clients know. Keystone is real."""

import base64
import hmac
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.openstack.keystones import Keystone

_SECRET = b"a shared secret of 20"


def passcode() -> str:
    """RFC 6238, of now."""
    digest = hmac.digest(_SECRET, struct.pack(">Q", int(time.time()) // 30), "sha1")
    begin = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[begin : begin + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"


class Shell:
    """Somebody's shell with a home of its own."""

    def __init__(self, keystone: Keystone, home: Path) -> None:
        self.keystone, self.home = keystone, home

    def run(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "XDG_"))}
        return subprocess.run(
            [sys.executable, "-m", "hypernetes.cli.identity.credential", *arguments], cwd=self.home,
            env={**kept, "HOME": str(self.home), **settings}, capture_output=True, text=True, timeout=60,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def token(self, *arguments: str, **settings: str) -> str:
        done = self.run(*arguments, **settings)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["kind"] == "ExecCredential"
        token: str = said["status"]["token"]
        return token

    def described(self, token: str) -> Any:
        """What Keystone says of it."""
        return self.keystone.rest.get("/auth/tokens", headers={"X-Subject-Token": token}).json()["token"]


@pytest.fixture(scope="module")
def project(keystone: Keystone) -> str:
    return keystone.project("credential", cora="member")


@pytest.fixture
def shell(keystone: Keystone, project: str, tmp_path: Path) -> Shell:
    return Shell(keystone, tmp_path)


def test_each_kind_of_credential_gives_a_token_of_the_project(keystone: Keystone, shell: Shell, project: str) -> None:
    own, bare = keystone.as_user("cora", "credential"), keystone.url.removesuffix("/v3")
    first = shell.token(**own)
    user = shell.described(first)["user"]["id"]
    keystone.rest.post(
        "/credentials",
        json={"credential": {"type": "totp", "user_id": user, "blob": base64.b32encode(_SECRET).decode()}},
    )
    old = {"OS_AUTH_URL": f"{bare}/v2.0/", "OS_TENANT_NAME": "credential", "OS_USERNAME": "cora", "OS_PASSWORD": "cora"}
    with_token = {"OS_AUTH_URL": bare, "OS_AUTH_TYPE": "token", "OS_TOKEN": first, "OS_PROJECT_ID": project}
    by_passcode = {name: value for name, value in own.items() if name != "OS_PASSWORD"}
    by_passcode |= {"OS_AUTH_TYPE": "v3totp", "OS_PASSCODE": passcode()}
    for settings in (old, with_token, by_passcode):
        described = shell.described(shell.token(**settings))
        assert (described["project"]["id"], described["user"]["id"]) == (project, user), settings
    assert shell.described(shell.token(**by_passcode))["methods"] == ["totp"]


def test_a_password_and_a_passcode_together_where_keystone_wants_both(keystone: Keystone, tmp_path: Path) -> None:
    shell, project = Shell(keystone, tmp_path), keystone.project("factors", felicia="member")
    own = keystone.as_user("felicia", "factors")
    user = shell.described(shell.token(**own))["user"]["id"]
    blob = base64.b32encode(_SECRET).decode()
    keystone.rest.post("/credentials", json={"credential": {"type": "totp", "user_id": user, "blob": blob}})
    both = {"multi_factor_auth_enabled": True, "multi_factor_auth_rules": [["password", "totp"]]}
    keystone.rest.patch(f"/users/{user}", json={"user": {"options": both}})
    shutil.rmtree(shell.home / ".cache")  # the token by password alone
    assert "OS_AUTH_METHODS=v3password,v3totp" in shell.run(**own).stderr
    together = {**own, "OS_AUTH_TYPE": "v3multifactor", "OS_AUTH_METHODS": "v3password,v3totp"}
    wrong = f"{(int(passcode()) + 1) % 1_000_000:06d}"
    assert "refuses" in shell.run(**together, OS_PASSCODE=wrong).stderr
    described = shell.described(shell.token(**together, OS_PASSCODE=passcode()))
    assert (described["project"]["id"], described["user"]["id"]) == (project, user)
    assert {"password", "totp"} <= set(described["methods"])


def test_an_entry_of_clouds_yaml_is_used_by_its_name(keystone: Keystone, shell: Shell, project: str) -> None:
    auth = {"auth_url": keystone.url, "username": "cora", "password": "cora", "project_name": "credential"}
    (shell.home / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"mine": {"auth": auth}}}))
    assert shell.described(shell.token("--os-cloud", "mine"))["project"]["id"] == project
    assert "theirs" in shell.run("--os-cloud", "theirs").stderr


def test_a_token_is_used_again_until_keystone_has_revoked_it(keystone: Keystone, shell: Shell) -> None:
    own = keystone.as_user("cora", "credential")
    first = shell.token(**own)
    assert shell.token(**{**own, "OS_PASSWORD": ""}) == first
    keystone.rest.delete("/auth/tokens", headers={"X-Subject-Token": first})
    (file,) = (shell.home / ".cache" / "hypernetes" / "tokens").iterdir()
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "checked_at": "2026-01-01T00:00:00+00:00"}))
    assert shell.token(**own) != first


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "OS_CLOUD"), ({"OS_PASSWORD": "wrong"}, "refuses"), ({"OS_PROJECT_NAME": "none"}, "refuses"),
        ({"OS_AUTH_URL": "http://127.0.0.1:9/v3"}, "doesn't answer"), ({"OS_PROJECT_NAME": ""}, "names no project"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_a_sentence(
    keystone: Keystone, shell: Shell, settings: dict[str, str], why: str
) -> None:
    done = shell.run(**({**keystone.as_user("cora", "credential"), **settings} if settings else {}))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("hn: ")
    assert why in done.stderr
    assert "Traceback" not in done.stderr
