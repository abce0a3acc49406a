"""Tokens of every scope and kind that Keystone gives, and what they open here. Keystone is real."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1.identity.v3 import ApplicationCredential, Password
from keystoneauth1.session import Session

from hypernetes.providers.identity.base import TenantReference
from hypernetes.providers.identity.keystone import KeystoneIdentityProvider
from hypernetes.providers.identity.keystone.tokens import DOMAIN_EXTRA
from tests.openstack.keystones import ADMIN_PASSWORD, Keystone
from tests.openstack.providers import opened


@dataclass
class Site:
    """A project in which jane is a member, and john, who is in another one."""

    keystone: Keystone
    project: str
    jane: str
    john: str

    def session(self, name: str, **scope: str) -> Session:
        own = {"username": name, "password": name, "user_domain_id": "default"}
        return Session(auth=Password(self.keystone.url, **own, **scope))

    def application_credential(self, name: str, **more: Any) -> str:
        """A token that one of jane's gives."""
        own = self.session("jane.kinds", project_id=self.project)
        body = {"application_credential": {"name": name, "roles": [{"name": "reader"}], **more}}
        path = f"{self.keystone.url}/users/{self.jane}/application_credentials"
        made = own.post(path, json=body).json()["application_credential"]
        auth = ApplicationCredential(
            self.keystone.url, application_credential_id=made["id"], application_credential_secret=made["secret"]
        )
        token: str = Session(auth=auth).get_token()
        return token

    def trusted(self) -> str:
        """A token by which john acts with what jane has trusted him with."""
        own = self.session("jane.kinds", project_id=self.project)
        trust = {
            "trustor_user_id": self.jane, "trustee_user_id": self.john, "project_id": self.project,
            "impersonation": False, "roles": [{"name": "member"}],
        }  # fmt: skip
        id = own.post(f"{self.keystone.url}/OS-TRUST/trusts", json={"trust": trust}).json()["trust"]["id"]
        token: str = self.session("john.kinds", trust_id=id).get_token()
        return token


@pytest.fixture(scope="module")
def site(keystone: Keystone) -> Site:
    project = keystone.project("kinds", **{"jane.kinds": "member"})
    keystone.project("kinds-other", **{"john.kinds": "reader"})
    users = {each["name"]: each["id"] for each in keystone.rest.get("/users").json()["users"]}
    return Site(keystone, project, users["jane.kinds"], users["john.kinds"])


@pytest.fixture
async def provider(site: Site, tmp_path: Path) -> AsyncIterator[KeystoneIdentityProvider]:
    provider = await opened(tmp_path, site.keystone.clouds())
    yield provider
    await provider.close()


async def test_an_application_credential_has_the_roles_that_it_was_given(
    site: Site, provider: KeystoneIdentityProvider
) -> None:
    found = await provider.identity_of(site.application_credential("plain"))
    assert found is not None
    assert (found.user, found.tenant) == ("keystone:jane.kinds@Default", TenantReference(id=site.project))
    assert found.groups == ("keystone:role:reader",)


async def test_an_application_credential_with_access_rules_opens_nothing(
    site: Site, provider: KeystoneIdentityProvider
) -> None:
    rules = [{"path": "/v2.1/servers", "method": "GET", "service": "compute"}]
    assert await provider.identity_of(site.application_credential("ruled", access_rules=rules)) is None


async def test_who_is_trusted_has_the_roles_of_the_trust_under_their_own_name(
    site: Site, provider: KeystoneIdentityProvider
) -> None:
    found = await provider.identity_of(site.trusted())
    assert found is not None
    assert (found.user, found.tenant) == ("keystone:john.kinds@Default", TenantReference(id=site.project))
    assert "keystone:role:member" in found.groups


async def test_an_admin_of_the_whole_system_administers_the_provider(
    site: Site, provider: KeystoneIdentityProvider
) -> None:
    own = {"username": "admin", "password": ADMIN_PASSWORD, "user_domain_id": "default"}
    found = await provider.identity_of(Session(auth=Password(site.keystone.url, **own, system_scope="all")).get_token())
    assert found is not None
    assert found.tenant == TenantReference(name="system")
    assert "system:masters" in found.groups
    of_project = Password(site.keystone.url, **own, project_name="admin", project_domain_id="default")
    found = await provider.identity_of(Session(auth=of_project).get_token())
    assert found is not None
    assert found.tenant.id
    assert "system:masters" not in found.groups


async def test_a_domains_projects_are_tenants_and_its_admin_is_marked_with_it(site: Site, tmp_path: Path) -> None:
    rest = site.keystone.rest
    domain = rest.post("/domains", json={"domain": {"name": "customers"}}).json()["domain"]["id"]
    project = {"name": "shop", "domain_id": domain}
    project_id = rest.post("/projects", json={"project": project}).json()["project"]["id"]
    rest.put(f"/domains/{domain}/users/{site.john}/roles/{site.keystone.role('admin')}")
    provider = await opened(tmp_path, site.keystone.clouds(), projects={"domain": "customers"})
    try:
        token = site.session("john.kinds", domain_id=domain).get_token()
        found = await provider.identity_of(token)
        assert found is not None
        assert (found.tenant, found.extra[DOMAIN_EXTRA]) == (TenantReference(name="system"), (domain,))
        assert "system:masters" not in found.groups
        (listed,) = await provider.tenants()
        assert (listed.id, listed.name, listed.domain, listed.enabled) == (project_id, "shop", domain, True)
        rest.patch(f"/domains/{domain}", json={"domain": {"enabled": False}})
        (listed,) = await provider.tenants()
        assert not listed.enabled
        rest.delete(f"/projects/{project_id}")
        assert await provider.tenants() == []
        assert await provider.tenant(project_id) is None
    finally:
        await provider.close()


async def test_what_is_taken_away_in_keystone_is_gone_with_the_next_question(
    site: Site, provider: KeystoneIdentityProvider
) -> None:
    rest, url = site.keystone.rest, site.keystone.url
    project = site.keystone.project("kinds-taken", **{"kim.kinds": "member"})
    users = rest.get("/users?name=kim.kinds").json()["users"]
    roles = f"/projects/{project}/users/{users[0]['id']}/roles"
    for name in ("reader", "auditor"):
        rest.put(f"{roles}/{site.keystone.role(name)}")
    token = site.keystone.token("kim.kinds", "kinds-taken")
    found = await provider.identity_of(token)
    assert found is not None
    assert found.groups == tuple(f"keystone:role:{name}" for name in ("auditor", "member", "reader"))
    rest.delete(f"{url}{roles}/{site.keystone.role('member')}")
    found = await provider.identity_of(token)
    assert found is not None
    assert found.groups == ("keystone:role:auditor", "keystone:role:reader")
    rest.patch(f"/users/{users[0]['id']}", json={"user": {"enabled": False}})
    assert await provider.identity_of(token) is None
