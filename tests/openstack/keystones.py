"""A real Keystone: its own database, keys and port on the loopback; gunicorn runs it, and it ends with the test."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml
from cryptography.fernet import Fernet
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session

from tests.integration.control_plane import free_port
from tests.openstack import environments

ADMIN_PASSWORD = "the administrator's own"
SERVICE = "hypernetes"  # the user that hn-apiserver and hn-controllers are, and its password
_START_SECONDS = 120.0  # the machine may be busy with other tests
_CALL_SECONDS = 120.0
# oslo reads the command line at import
_APPLICATION = """
import sys
sys.argv = ["keystone-api"]
from keystone.wsgi.api import application
"""


class Keystone:
    """One that may be stopped and started again, on the same port with the same data."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.environment = directory, environments.installed()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v3"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copytree(_prepared(self.environment), directory, dirs_exist_ok=True)
        _configure(directory)
        self._say_where()

    def start(self) -> None:
        """Returns when it answers."""
        with (self.directory / "keystone.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.environment / "bin" / "gunicorn", "--workers", "1", "--worker-class", "gthread", "--threads", "8",
                 "--timeout", "300", "--graceful-timeout", "2", "--no-control-socket", "--worker-tmp-dir", "/dev/shm",
                 "--bind", f"127.0.0.1:{self.port}", "served:application"],
                cwd=self.directory, env=_variables(self.directory), stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"Keystone didn't start: {(self.directory / 'keystone.log').read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """At once, as if its machine had gone. Twice is no error."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def create(self, what: str, name: str, *options: str) -> str:
        """The id of a project, user, … that is made."""
        return self.openstack(what, "create", name, *options, "-f", "value", "-c", "id")

    def openstack(self, *arguments: str, **settings: str) -> str:
        """What the `openstack` client prints, as the cloud's administrator unless `settings` (`OS_…`) say otherwise."""
        done = subprocess.run(
            [self.environment / "bin" / "openstack", *arguments], env=self.variables(**settings),
            capture_output=True, text=True, timeout=_CALL_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, f"openstack {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def variables(self, **settings: str) -> dict[str, str]:
        """The environment of somebody who uses it: no `OS_…` but these."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        kept["PATH"] = f"{kept['PATH']}{os.pathsep}{self.environment / 'bin'}"
        return {**kept, **(settings or {"OS_CLOUD": "admin", "OS_CLIENT_CONFIG_FILE": str(self.clouds_file)})}

    @property
    def rest(self) -> Adapter:
        """Its API, as its administrator: what isn't about the `openstack` client is made so, which is faster."""
        user = {"username": "admin", "password": ADMIN_PASSWORD, "user_domain_id": "default", "system_scope": "all"}
        return Adapter(Session(auth=Password(self.url, **user), timeout=_CALL_SECONDS), endpoint_override=self.url)

    def project(self, name: str, *, tag: str = "hypernetes", **people: str) -> str:
        """Makes a project and its people, each with a role there and their name as password; the project's id."""
        rest, of = self.rest, {"domain_id": "default", "name": name}
        id: str = rest.post("/projects", json={"project": {**of, "tags": [tag]}}).json()["project"]["id"]
        for person, role in people.items():
            user = {"domain_id": "default", "name": person, "password": person}
            user_id = rest.post("/users", json={"user": user}).json()["user"]["id"]
            rest.put(f"/projects/{id}/users/{user_id}/roles/{self.role(role)}")
        return id

    def role(self, name: str) -> str:
        """The id of a role, made if it isn't there."""
        found = self.rest.get(f"/roles?name={name}").json()["roles"]
        if not found:
            found = [self.rest.post("/roles", json={"role": {"name": name}}).json()["role"]]
        id: str = found[0]["id"]
        return id

    def token(self, name: str, project: str) -> str:
        """Of a user whose password is their name, for a project of theirs."""
        return self.scoped_token(name, project_name=project, project_domain_id="default")

    def scoped_token(self, name: str, password: str = "", **scope: str) -> str:
        """Of a user whose password is their name unless given; `scope` as keystoneauth has it."""
        auth = Password(self.url, username=name, password=password or name, user_domain_id="default", **scope)
        token: str = Session(auth=auth, timeout=_CALL_SECONDS).get_token()
        return token

    def as_user(self, name: str, project: str) -> dict[str, str]:
        """The variables of a user of the default domain whose password is their name."""
        return {
            "OS_AUTH_URL": self.url, "OS_USERNAME": name, "OS_PASSWORD": name, "OS_PROJECT_NAME": project,
            "OS_USER_DOMAIN_ID": "default", "OS_PROJECT_DOMAIN_ID": "default", "OS_IDENTITY_API_VERSION": "3",
        }  # fmt: skip

    def clouds(self, url: str | None = None) -> dict[str, object]:
        """The `clouds.yaml` of its operator: `admin` of a project, `system` of the whole, and what Hypernetes uses."""
        user = {
            "auth_url": url or self.url,
            "username": "admin",
            "password": ADMIN_PASSWORD,
            "user_domain_id": "default",
        }
        project = {**user, "project_name": "admin", "project_domain_id": "default"}
        common = {"identity_api_version": "3", "region_name": "RegionOne"}
        return {
            "clouds": {
                "admin": {**common, "auth": project},
                "system": {**common, "auth": {**user, "system_scope": "all"}},
                "hypernetes": {
                    **common, "auth": {**user, "username": SERVICE, "password": SERVICE, "system_scope": "all"},
                },
            }
        }  # fmt: skip

    @property
    def clouds_file(self) -> Path:
        return self.directory / "clouds.yaml"

    def _say_where(self) -> None:
        """What it tells of itself, and the configuration of its operator's clients."""
        database = sqlite3.connect(self.directory / "keystone.db")
        with database:
            database.execute("UPDATE endpoint SET url = ?", (self.url,))
        database.close()
        self.clouds_file.write_text(yaml.safe_dump(self.clouds()))
        self.clouds_file.chmod(0o600)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


def _prepared(environment: Path) -> Path:
    """A directory with configuration, keys and a database with its administrator, made once: it takes 20 s."""
    prepared = environments.cached("keystone")
    if prepared.exists():
        return prepared
    making = prepared.with_suffix(f".{os.getpid()}")
    for keys in ("fernet", "credential"):
        (making / keys).mkdir(parents=True, mode=0o700)
        for number in "01":
            (making / keys / number).write_bytes(Fernet.generate_key())
            (making / keys / number).chmod(0o600)
    _configure(making)
    url = "http://127.0.0.1/v3"
    bootstrap = (
        "bootstrap", "--bootstrap-password", ADMIN_PASSWORD, "--bootstrap-region-id", "RegionOne",
        "--bootstrap-public-url", url, "--bootstrap-internal-url", url, "--bootstrap-admin-url", url,
    )  # fmt: skip
    for command in (("db_sync",), bootstrap):
        subprocess.run(
            [environment / "bin" / "keystone-manage", "--config-file", making / "keystone.conf", *command],
            cwd=making, env=_variables(making), check=True, capture_output=True, timeout=_CALL_SECONDS,
        )  # fmt: skip
    try:
        making.rename(prepared)
    except OSError:  # somebody else was faster
        shutil.rmtree(making)
    return prepared


def _configure(directory: Path) -> None:
    (directory / "served.py").write_text(_APPLICATION)
    (directory / "keystone.conf").write_text(
        f"[fernet_tokens]\nkey_repository = {directory}/fernet\n"
        f"[fernet_receipts]\nkey_repository = {directory}/fernet\n"
        f"[credential]\nkey_repository = {directory}/credential\n"
        f"[database]\nconnection = sqlite:///{directory}/keystone.db\n"
        "[cache]\nenabled = true\nbackend = dogpile.cache.memory\n"
        "[identity]\npassword_hash_rounds = 4\n"
        "[auth]\nmethods = password,token,application_credential,totp\n"
    )


def _variables(directory: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("OS_")},
        "OS_KEYSTONE_CONFIG_FILES": "keystone.conf", "OS_KEYSTONE_CONFIG_DIR": str(directory),
        "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
