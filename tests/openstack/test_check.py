"""`hn openstack check` against a real cloud: what is there, and what somebody took away."""

import subprocess
import sys
from pathlib import Path

import yaml

from tests.openstack.neutrons import Neutron

_HN = Path(sys.executable).with_name("hn")


def check(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [_HN, "openstack", "check", "--network-provider", file, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def lines(said: str) -> dict[str, bool]:
    """Whether each thing is as it should be."""
    found = (line.split(maxsplit=1) for line in said.splitlines() if line.startswith(("ok", "FAIL")))
    return {rest.split("  ")[0]: mark == "ok" for mark, rest in found}


def configured(directory: Path, neutron: Neutron, **more: object) -> Path:
    file = directory / "neutron.yaml"
    file.write_text(yaml.safe_dump({"cloud": "neutron", "clouds": str(neutron.clouds_file), **more}))
    return file


def test_a_cloud_that_has_all_is_good(neutron: Neutron, tmp_path: Path) -> None:
    project = neutron.keystone.project("checked")
    done = check(configured(tmp_path, neutron, externalNetwork=neutron.outside()), "--project", project)
    assert done.returncode == 0, done.stdout + done.stderr
    found = lines(done.stdout)
    assert all(found.values())
    wanted = {"credential", "roles", "service network", "extension binding", "host host1", "host host2", "quota port"}
    assert wanted <= found.keys()


def test_what_is_missing_is_said_with_its_fix(neutron: Neutron, tmp_path: Path) -> None:
    project = neutron.keystone.project("checked-poor")
    neutron.rest.put(f"/quotas/{project}", json={"quota": {"port": 2}})
    file = configured(tmp_path, neutron, externalNetwork="nowhere", hosts={"node-1": "no-such-host"})
    done = check(file, "--project", project)
    assert done.returncode != 0
    found = lines(done.stdout)
    wrong = {what for what, good in found.items() if not good}
    assert wrong == {"external network", "host no-such-host", "quota port"}
    assert "openstack quota set --ports" in done.stdout
    assert "3 of" in done.stderr


def test_a_credential_that_is_no_administrators_is_told_so(neutron: Neutron, tmp_path: Path) -> None:
    neutron.keystone.project("checked-member", mia="member")
    auth = {
        "auth_url": neutron.keystone.url, "username": "mia", "password": "mia", "project_name": "checked-member",
        "user_domain_id": "default", "project_domain_id": "default",
    }  # fmt: skip
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(yaml.safe_dump({"clouds": {"mine": {"auth": auth, "region_name": "RegionOne"}}}))
    file = tmp_path / "neutron.yaml"
    file.write_text(yaml.safe_dump({"cloud": "mine", "clouds": "clouds.yaml"}))
    done = check(file)
    assert done.returncode != 0
    assert not lines(done.stdout)["roles"]
    assert "openstack role add" in done.stdout
    clouds.write_text(clouds.read_text().replace("password: mia", "password: wrong"))
    assert lines(check(file).stdout) == {"credential": False}
