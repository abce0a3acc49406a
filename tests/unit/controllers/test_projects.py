"""Tenants follow the projects of an identity provider."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.api.models.hypernetes_v1 import Tenant
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import is_dns_label
from hypernetes.controllers import projects
from hypernetes.controllers.projects import Projects
from hypernetes.providers.identity.base import ExternalTenant, ProviderUnavailable
from tests.unit.controllers.fake_cluster import FakeCluster, Story, settle
from tests.unit.controllers.fake_cluster import virtual_clock as virtual_clock

GRACE = timedelta(hours=1)
ACME = ExternalTenant("0a1b2c3d4e5f", "acme", "default")
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Keystone:
    """Projects as its administrator has them: `listed` are tenants, `others` are there as well."""

    name = "keystone"

    def __init__(self, *listed: ExternalTenant) -> None:
        self.listed, self.others = list(listed), []
        self.up = True

    async def tenants(self) -> list[ExternalTenant]:
        if not self.up:
            raise ProviderUnavailable("it is away")
        return list(self.listed)

    async def tenant(self, id: str) -> ExternalTenant | None:
        return next((each for each in [*await self.tenants(), *self.others] if each.id == id), None)


def story(keystone: Keystone) -> Story:
    making: Callable[..., Any] = partial(Projects, provider=keystone, grace=GRACE)
    return Story(making)


def state(cluster: FakeCluster, name: str = "acme") -> tuple[bool, str | None]:
    """Whether a tenant is suspended, and for which reason of its project's."""
    tenant = cluster.find("Tenant", name, "system")
    annotations = tenant["metadata"].get("annotations", {})
    return bool(tenant["spec"].get("suspended")), annotations.get(projects.SUSPENDED_HERE)


@pytest.mark.looptime
@pytest.mark.usefixtures("virtual_clock")
class TestStories:
    async def test_a_project_becomes_a_tenant_within_five_seconds(self) -> None:
        keystone = Keystone()
        async with story(keystone).running() as cluster:
            keystone.listed.append(ACME)
            await settle(5)
            spec = cluster.find("Tenant", "acme", "system")["spec"]
            assert spec["displayName"] == "acme"
            assert spec["identity"] == {"keystone": {"projectID": ACME.id, "domainID": "default"}}
            keystone.listed.append(replace(ACME, id="1111222233334444", domain="other"))
            keystone.listed.append(replace(ACME, id="5555666677778888", name="system"))
            await settle(5)
            assert cluster.names("Tenant", "system") == ["acme", "acme-11112222", "system-55556666"]

    async def test_a_disabled_project_suspends_its_tenant_until_it_is_enabled(self) -> None:
        keystone = Keystone(ACME)
        async with story(keystone).running() as cluster:
            await settle(5)
            keystone.listed[0] = replace(ACME, enabled=False)
            await settle(5)
            assert state(cluster) == (True, "disabled")
            keystone.listed[0] = ACME
            await settle(5)
            assert state(cluster) == (False, None)

    async def test_a_deleted_project_suspends_its_tenant_which_goes_after_the_grace(self) -> None:
        keystone = Keystone(ACME)
        async with story(keystone).running() as cluster:
            await settle(5)
            keystone.listed.clear()
            await settle(5)
            assert state(cluster) == (True, "deleted")
            await settle(GRACE.total_seconds() - 20)
            assert cluster.names("Tenant", "system") == ["acme"]
            await settle(30)
            assert cluster.names("Tenant", "system") == []

    async def test_the_grace_goes_on_through_a_restart(self) -> None:
        keystone = Keystone(ACME)
        whole = story(keystone)
        async with whole.running():
            await settle(5)
            keystone.listed.clear()
            await settle(GRACE.total_seconds() - 60)
        async with whole.running() as cluster:
            assert cluster.names("Tenant", "system") == ["acme"]
            await settle(90)
            assert cluster.names("Tenant", "system") == []

    async def test_a_project_that_is_only_not_listed_any_more_keeps_its_tenant(self) -> None:
        keystone = Keystone(ACME)
        async with story(keystone).running() as cluster:
            await settle(5)
            keystone.listed, keystone.others = [], [ACME]
            await settle(2 * GRACE.total_seconds())
            assert state(cluster) == (False, None)
            keystone.others = [replace(ACME, enabled=False)]
            await settle(90)
            assert state(cluster) == (True, "disabled")

    async def test_while_keystone_is_away_nothing_changes(self) -> None:
        keystone = Keystone(ACME)
        async with story(keystone).running() as cluster:
            await settle(5)
            keystone.up = False
            keystone.listed = [replace(ACME, id="9", name="globex")]
            await settle(2 * GRACE.total_seconds())
            assert cluster.names("Tenant", "system") == ["acme"]
            assert state(cluster) == (False, None)
            keystone.up = True
            await settle(45)
            assert cluster.names("Tenant", "system") == ["acme", "globex"]
            assert state(cluster) == (True, "deleted")

    async def test_who_is_suspended_by_the_provider_stays_so(self) -> None:
        keystone = Keystone(ACME)
        async with story(keystone).running() as cluster:
            await settle(5)
            spec = cluster.find("Tenant", "acme", "system")["spec"]
            await cluster.change("Tenant", "acme", "system", spec={**spec, "suspended": True})
            keystone.listed[0] = replace(ACME, enabled=False)
            await settle(5)
            keystone.listed[0] = ACME
            await settle(5)
            assert state(cluster) == (True, None)

    async def test_a_protected_tenant_outlives_its_project_and_the_events_say_so(self) -> None:
        keystone = Keystone(ACME)
        async with story(keystone).running() as cluster:

            def refuse(verb: str, resource: Any, obj: Any) -> None:
                if verb == "delete" and resource.kind == "Tenant":
                    raise StatusError("Forbidden", "the tenant is protected: see spec.deletionProtection")

            cluster.refuse = refuse
            await settle(5)
            keystone.listed.clear()
            await settle(GRACE.total_seconds() + 300)
            assert cluster.names("Tenant", "system") == ["acme"]
            events = [event for tenant in ("system", "acme") for event in cluster.all("Event", tenant)]
            assert {event["reason"] for event in events} == {"ProjectGone", "DeletionRefused"}
            cluster.refuse = lambda verb, resource, obj: None
            await settle(90)
            assert cluster.names("Tenant", "system") == []


@given(st.text(), st.text(alphabet="0123456789abcdef", min_size=32, max_size=32))
def test_whatever_a_project_is_called_its_tenant_can_be_called_so(name: str, id: str) -> None:
    for each in projects.names(ExternalTenant(id, name)):
        assert is_dns_label(each), each


@given(st.booleans(), st.booleans(), st.sampled_from(["there", "disabled", "gone"]))
def test_a_plan_that_was_carried_out_is_not_made_again(suspended: bool, here: bool, now: str) -> None:
    tenant = projects.new_tenant(ACME, "acme")
    spec = tenant.spec.model_copy(update={"suspended": suspended})
    annotations = {projects.SUSPENDED_HERE: "disabled"} if here and suspended else {}
    tenant = Tenant(metadata=tenant.metadata.model_copy(update={"annotations": annotations}), spec=spec)
    project = {"there": ACME, "disabled": replace(ACME, enabled=False), "gone": None}[now]
    once = projects.planned(tenant, project, NOW)
    assert projects.planned(once, project, NOW + GRACE) is once
    assert bool(once.spec.suspended) is (now != "there" or (suspended and not here))


def test_a_grace_that_somebody_made_unreadable_begins_anew() -> None:
    tenant = projects.planned(projects.new_tenant(ACME, "acme"), None, NOW)
    assert projects.grace_left(tenant, GRACE, NOW + timedelta(minutes=50)) == 600
    tenant.metadata.annotations[projects.GONE_SINCE] = "yesterday"
    assert projects.grace_left(tenant, GRACE, NOW) == GRACE.total_seconds()
    assert projects.grace_left(projects.new_tenant(ACME, "acme"), GRACE, NOW) is None
