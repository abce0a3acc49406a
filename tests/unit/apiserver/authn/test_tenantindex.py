from datetime import UTC, datetime

import orjson

from hypernetes.api import scheme
from hypernetes.apiserver.authn.sources import LivingTenant
from hypernetes.apiserver.authn.tenantindex import TenantIndex
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.storage.base import Change, Item
from hypernetes.providers.identity.base import TenantReference

KEYS = Keys("abc123")
TENANTS = scheme.by_name("hypernetes.io/v1", "tenants")


def key(name: str) -> str:
    return KEYS.of(TENANTS, "system", "", name)


def tenant(name: str, uid: str, project: str = "") -> bytes:
    spec = {"identity": {"keystone": {"projectID": project}}} if project else {}
    return orjson.dumps(
        {"metadata": {"name": name, "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec}
    )


def test_a_tenant_is_found_by_name_and_by_the_id_that_one_tenant_has():
    mirror = Mirror(KEYS)
    index = TenantIndex(mirror, Lookups(mirror))
    items = [Item(key("acme"), tenant("acme", "u1", "p1"), 1), Item(key("globex"), tenant("globex", "u2"), 2)]
    mirror.load(items, 2)
    index.reset()
    acme = LivingTenant("acme", "u1", datetime(2026, 1, 1, tzinfo=UTC))
    assert index.living("keystone", TenantReference(id="p1")) == acme
    assert index.living("other", TenantReference(id="p1")) is None
    assert index.living("keystone", TenantReference(id="p2")) is None
    assert index.living("oidc", TenantReference("acme")) == acme
    for name in ("nobody", "../acme", "Acme", "acme/", ""):
        assert index.living("oidc", TenantReference(name)) is None
    index.observe(mirror.apply([Change(key("globex"), 3, tenant("globex", "u2", "p1"), items[1])]))
    assert index.living("keystone", TenantReference(id="p1")) is None  # which of the two isn't clear
    index.observe(mirror.apply([Change(key("acme"), 4, None, items[0])]))
    found = index.living("keystone", TenantReference(id="p1"))
    assert found is not None
    assert found.name == "globex"


def test_the_providers_own_tenant_is_found_by_name():
    mirror = Mirror(KEYS)
    found = TenantIndex(mirror, Lookups(mirror)).living("oidc", TenantReference("system"))
    assert found is not None
    assert found.name == "system"
