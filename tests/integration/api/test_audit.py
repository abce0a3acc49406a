"""The audit log of a real server: what is in it, what never is, and a disk that is full."""

import asyncio
import base64
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from hypernetes.apiserver.audit import log, policy
from hypernetes.apiserver.audit.log import BATCH, BLOCKING, STRICT
from hypernetes.apiserver.audit.options import AuditSettings
from hypernetes.apiserver.audit.rotation import RotatingFile
from hypernetes.apiserver.storage.base import Store
from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api.servers import User, serving

Object = dict[str, Any]

MAPS, SECRETS = "/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/secrets"
MERGE = {"Content-Type": "application/merge-patch+json"}
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")
RULES: list[Object] = [
    {"level": "None", "nonResourceURLs": ["/livez*", "/metrics"]},
    {"level": "None", "tenants": ["quiet"]},
    {"level": "Metadata", "resources": [{"group": "", "resources": ["pods", "endpoints"]}]},
    {"level": "Request", "verbs": ["patch"], "omitStages": ["RequestReceived"]},
    {"level": "RequestResponse", "omitStages": ["RequestReceived"], "omitManagedFields": True},
]
SECRET = "hunter2-is-the-password"


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(str(tmp_path / "store" / "state.db"))
    yield opened
    await opened.close()


@asynccontextmanager
async def audited(
    store: Store, directory: Path, *rules: Object, mode: str = BLOCKING, logs: Path | None = None
) -> AsyncIterator[tuple[User, "Log"]]:
    path = (logs or directory) / "audit.log"
    document = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules) or RULES}
    file = RotatingFile(path, max_bytes=100 << 20, backups=1, days=0)
    settings = AuditSettings(policy.parse(yaml.dump(document)), file, mode)
    async with serving(store, directory, "t1", audit=settings) as admin:
        yield admin, Log(path)


class Log:
    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def text(self) -> str:
        return self._path.read_text()

    def events(self, **wanted: Any) -> list[Object]:
        """Those that say this at their top."""
        found = [orjson.loads(line) for line in self._path.read_bytes().splitlines()]
        return [each for each in found if all(each.get(key) == value for key, value in wanted.items())]


async def test_events_say_who_asked_for_what_and_what_came_of_it(sqlite: Store, tmp_path: Path) -> None:
    async with audited(sqlite, tmp_path) as (admin, found):
        headers = {"Audit-ID": "of-the-client", "User-Agent": "tests/1", "X-Forwarded-For": "203.0.113.9"}
        made = await admin("POST", MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}}, headers=headers)
        assert made.headers["Audit-Id"] == "of-the-client"
        (event,) = found.events(auditID="of-the-client")
        assert MICRO_TIME.match(event.pop("requestReceivedTimestamp"))
        assert MICRO_TIME.match(event.pop("stageTimestamp"))
        assert event.pop("requestObject") == {"metadata": {"name": "a"}, "data": {"k": "v"}}
        answered = made.json
        del answered["metadata"]["managedFields"]  # the policy leaves them out
        assert event.pop("responseObject") == answered
        assert event.pop("user")["groups"] == ["system:masters", "system:authenticated"]
        assert event == {
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": "of-the-client",
            "stage": "ResponseComplete", "requestURI": MAPS, "verb": "create", "userAgent": "tests/1",
            "sourceIPs": ["203.0.113.9", "127.0.0.1"],
            "objectRef": {"resource": "configmaps", "namespace": "default", "name": "a", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 201},
            "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "",
                            "hypernetes.io/tenant": "system"},
        }  # fmt: skip

        yaml_body = b"metadata:\n  name: b\n  managedFields: []\n"
        await admin("POST", MAPS, yaml_body, headers={"Content-Type": "application/yaml"})
        assert found.events(verb="create")[-1]["requestObject"] == {"metadata": {"name": "b"}}
        await admin("PATCH", f"{MAPS}/a", b'{\n "data": {"k": "w"}\n}', headers=MERGE)
        (patch,) = found.events(verb="patch")
        assert (patch["requestObject"], "responseObject" in patch) == ({"data": {"k": "w"}}, False)
        await admin("PATCH", f"{MAPS}/a", b'{"data": ', headers=MERGE)
        broken = found.events(verb="patch")[-1]
        assert (broken["responseStatus"]["code"], "requestObject" in broken) == (400, False)
        assert broken["responseStatus"]["reason"] == "BadRequest"

        listed = await admin("GET", "/api/v1/pods", limit="5")
        (received, complete) = found.events(requestURI="/api/v1/pods?limit=5")
        assert [received["stage"], complete["stage"]] == ["RequestReceived", "ResponseComplete"]
        assert received["auditID"] == complete["auditID"] == listed.headers["Audit-Id"]
        assert (received["verb"], "responseStatus" in received) == ("list", False)
        await admin("GET", "/api/v1/endpoints")
        assert found.events(verb="list")[-1]["annotations"]["k8s.io/deprecated"] == "true"
        async with admin.watch("/api/v1/pods"):
            assert [each["stage"] for each in found.events(verb="watch")] == ["RequestReceived", "ResponseStarted"]
        await admin("GET", "/livez")
        assert "/livez" not in found.text

        metrics = (await admin("GET", "/metrics")).body.decode()
        assert f"apiserver_audit_event_total {float(len(found.events()))}" in metrics
        assert 'apiserver_audit_level_total{level="RequestResponse"}' in metrics
        assert 'apiserver_audit_error_total{plugin="log"} 0.0' in metrics


async def test_events_say_whose_tenant_it_is_and_who_was_impersonated(sqlite: Store, tmp_path: Path) -> None:
    async with (
        audited(sqlite, tmp_path) as (admin, found),
        await admin.tenant("acme") as user,
        await admin.tenant("quiet") as quiet,
        admin.anonymous() as nobody,
    ):
        await user("GET", f"{MAPS}/x", headers={"Impersonate-User": "jane"})
        (refused,) = found.events(verb="get", requestURI=f"{MAPS}/x")
        assert (refused["user"]["username"], refused["impersonatedUser"]["username"]) == ("acme-admin", "jane")
        assert (refused["responseStatus"]["code"], refused["responseStatus"]["reason"]) == (403, "Forbidden")
        assert refused["annotations"] == {
            "authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": "",
            "hypernetes.io/tenant": "acme",
        }  # fmt: skip
        await admin("GET", f"/tenants/acme{MAPS}/y")
        (crossing,) = found.events(requestURI=f"/tenants/acme{MAPS}/y")
        assert crossing["annotations"]["hypernetes.io/tenant"] == "acme"
        assert crossing["annotations"]["hypernetes.io/user-tenant"] == "system"
        await quiet("GET", f"{MAPS}/z")
        assert f"{MAPS}/z" not in found.text
        bad = await nobody("GET", f"{MAPS}/w", headers={"Authorization": f"Bearer {SECRET}"})
        (unknown,) = found.events(requestURI=f"{MAPS}/w")
        assert (bad.status, unknown["responseStatus"]["code"], unknown["user"]) == (401, 401, {})
        assert SECRET not in found.text


async def test_no_secret_is_in_it_whatever_the_policy_says(sqlite: Store, tmp_path: Path) -> None:
    everything = {"level": "RequestResponse"}
    async with audited(sqlite, tmp_path, everything) as (admin, found):
        encoded = base64.b64encode(SECRET.encode()).decode()
        secret = {"metadata": {"name": "s"}, "data": {"k": encoded}}
        assert (await admin("POST", SECRETS, secret)).status == 201
        for answer in (
            await admin("GET", f"{SECRETS}/s"),
            await admin("GET", SECRETS),
            await admin("PATCH", f"{SECRETS}/s", {"stringData": {"j": SECRET}}, headers=MERGE),
            await admin("PATCH", f"{SECRETS}/s", [{"op": "add", "path": "/data/i", "value": encoded}],
                        headers={"Content-Type": "application/json-patch+json"}),
            await admin("PUT", f"{SECRETS}/s", {**secret, "data": {"k": f"!{SECRET}"}}),
            await admin("POST", SECRETS, {"metadata": {"name": "t"}, "type": SECRET, "stringData": {"k": 5}}),
            await admin("DELETE", f"{SECRETS}/s"),
        ):  # fmt: skip
            assert answer.status in (200, 400, 422), answer.body
        accounts = "/api/v1/namespaces/default/serviceaccounts/default/token"
        token = (await admin("POST", accounts, {"spec": {}})).json["status"]["token"]
        reviewed = await admin("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
        assert reviewed.json["status"]["authenticated"] is True
        users = "/apis/hypernetes.io/v1/users"
        assert (await admin("POST", users, {"metadata": {"name": "jane"}})).status == 201
        assert (await admin("POST", f"{users}/jane/password", {"spec": {"password": SECRET}})).status < 300
        login = {"spec": {"username": "jane", "password": SECRET}}
        held = (await admin("POST", "/tenants/system/login", login)).json["status"]["token"]
        text = found.text
        assert len(found.events(stage="ResponseComplete")) == 13
        for value in (SECRET, encoded, token, token.rpartition(".")[2], held):
            assert value not in text


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", mount], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", mount], check=True)


def fill(mount: Path) -> None:
    with (mount / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 512)
        except OSError:
            return


@pytest.mark.parametrize("mode", [BATCH, BLOCKING, STRICT])
async def test_a_full_disk_stops_no_request_but_where_it_is_to(
    mode: str, sqlite: Store, tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_AGAIN_SECONDS", 0.01)
    rule = {"level": "Metadata", "resources": [{"group": "", "resources": ["configmaps"]}]}
    async with audited(sqlite, tmp_path, rule, mode=mode, logs=small) as (admin, found):
        assert (await admin("GET", f"{MAPS}/before")).status == 404
        if mode == BATCH:
            async with asyncio.timeout(20):
                while len(found.events()) < 2:
                    await asyncio.sleep(0.01)
        fill(small)
        asked = 20
        answers = [await admin("POST", MAPS, {"metadata": {"name": f"m{n}"}}) for n in range(asked)]
        codes = [each.status for each in answers]
        refused = codes.count(500)  # the page that the file ends in takes a few lines more
        assert codes == [201] * (asked - refused) + [500] * refused
        assert refused > asked / 2 if mode == STRICT else not refused
        (small / "ballast").unlink()
        assert (await admin("GET", f"{MAPS}/after")).status == 404
        metrics = (await admin("GET", "/metrics")).body.decode()

    names = [each["objectRef"].get("name") for each in found.events(stage="ResponseComplete")]
    lost = int(float(re.findall(r'apiserver_audit_error_total\{plugin="log"\} (\S+)', metrics)[0]))
    assert (names[0], names[-1]) == ("before", "after")
    assert len(found.events()) + lost == 2 * (asked + 2)
    if mode == BATCH:
        assert lost == 0  # they waited
    if mode == STRICT:
        assert answers[-1].json["message"].endswith("failed to store audit event")
        assert f"apiserver_audit_requests_rejected_total {float(refused)}" in metrics
