"""What tenants have stored, how it is told, and where it ends."""

import orjson
import pytest

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.apiserver import tenantstatus
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.objects import Place
from hypernetes.apiserver.registry import tenants
from hypernetes.apiserver.storage.base import Change, Item
from hypernetes.apiserver.tenantquota import TenantQuotas
from hypernetes.apiserver.tenantusage import TenantUsage, Usage

KEYS = Keys("c")
TENANTS, PODS = scheme.by_name("hypernetes.io/v1", "tenants"), scheme.by_name("v1", "pods")
CONFIG_MAPS, PORTS = scheme.by_name("v1", "configmaps"), scheme.by_name("hypernetes.io/v1", "ports")


def obj(size=0, kind="ConfigMap"):
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, "data": {"k": "v" * size}}


def place(name="x", resource=CONFIG_MAPS, tenant="acme"):
    return Place(resource, tenant, "default", name)


class Server:
    """A mirror with one tenant, and what follows it."""

    def __init__(self, **quota):
        self.mirror = Mirror(KEYS)
        self.usage = TenantUsage(self.mirror)
        self.quotas = TenantQuotas(self.mirror, self.usage)
        key = KEYS.of(TENANTS, "system", "", "acme")
        tenant = {"metadata": {"name": "acme"}, "spec": {"quota": quota} if quota else {}}
        self.mirror.load([Item(key, orjson.dumps(tenant), 1)], 1)
        self.usage.reset()
        self.tenant = self.mirror.get(key)

    def write(self, where, value):
        """The store's side of a write; its revision."""
        revision = self.mirror.revision + 1
        key = KEYS.of(where.resource, where.tenant, where.namespace, where.name)
        data = None if value is None else orjson.dumps(value)
        self.usage.observe(self.mirror.apply([Change(key, revision, data, None)]))
        return revision

    def charge(self, number, where, value, user="acme", managed=b""):
        self.quotas.charge(number, user, self.tenant, where, value, managed)


def test_what_is_stored_is_counted_as_it_comes_changes_and_goes():
    server = Server()
    for name in ("a", "b"):
        server.write(place(name), obj(10))
    server.write(place("p", PODS), obj(kind="Pod"))
    found = server.usage.of("acme")
    assert (found.objects, found.pods, found.namespaces) == (3, 1, 0)
    before = found.stored_bytes
    server.write(place("a"), obj(110))
    assert server.usage.of("acme").stored_bytes == before + 100
    recounted = TenantUsage(server.mirror)
    recounted.reset()
    assert recounted.of("acme") == server.usage.of("acme")
    for where in (place("a"), place("b"), place("p", PODS)):
        server.write(where, None)
    assert server.usage.of("acme") == Usage()
    assert server.usage.of("globex") == Usage()


def test_every_tenant_has_a_bound_on_bytes_unless_it_has_another():
    server = Server()
    assert tenants.DEFAULT_QUOTA == {"storedBytes": "64Mi"}
    with pytest.raises(StatusError) as caught:
        server.charge(1, place(), obj(64 * 1024 * 1024))
    assert caught.value.code == 403
    assert "exceeded quota of the tenant, requested: storedBytes=" in caught.value.message
    assert "limited: storedBytes=64Mi" in caught.value.message
    Server(storedBytes="65Mi").charge(1, place(), obj(64 * 1024 * 1024))


def test_what_is_under_way_counts_until_it_fails_or_the_mirror_has_it():
    server = Server(objects="1")
    server.charge(1, place("a"), obj())
    with pytest.raises(StatusError):
        server.charge(2, place("b"), obj())
    server.charge(1, place("a"), obj())  # decided anew: the same request
    server.quotas.settle(1, "acme", None)
    server.charge(2, place("b"), obj())
    server.quotas.settle(2, "acme", server.mirror.revision + 1)
    with pytest.raises(StatusError):
        server.charge(3, place("c"), obj())
    server.write(place("b"), obj())
    with pytest.raises(StatusError):
        server.charge(3, place("c"), obj())
    server.write(place("b"), None)
    server.charge(3, place("c"), obj())


def test_a_full_tenant_can_shrink_and_the_provider_can_change_what_is_there():
    server = Server(storedBytes="100")
    server.write(place("a"), obj(500))
    server.charge(1, place("a"), obj(400))
    with pytest.raises(StatusError):
        server.charge(2, place("a"), obj(600))
    server.charge(3, place("a"), obj(600), user="system")
    server.charge(4, place("p", PORTS), obj(), user="system")
    with pytest.raises(StatusError):
        server.charge(5, place("b"), obj(), user="system")  # as a controller would on the tenant's behalf


def test_the_provider_s_own_tenant_has_no_bound():
    server = Server(storedBytes="1")
    server.charge(1, place("a", tenant="system"), obj(10_000), user="system")


def test_status_tells_counts_at_once_and_bytes_when_they_have_changed_by_some():
    usage = Usage(1_000_000, 20, 4, 2, 1)
    told = tenantstatus.told({"status": {"phase": "Active"}}, usage)
    assert told["status"] == {
        "phase": "Active", "namespaces": 4, "pods": 2, "networks": 1, "objects": 20, "storedBytes": 1_000_000,
    }  # fmt: skip
    assert tenantstatus.told(told, Usage(1_001_000, 21, 4, 2, 1)) is told
    assert tenantstatus.told(told, Usage(1_100_000, 21, 4, 2, 1))["status"]["storedBytes"] == 1_100_000
    assert tenantstatus.told(told, Usage(1_000_000, 20, 4, 3, 1))["status"]["pods"] == 3
    assert tenantstatus.told(told, Usage(1_000_000, 20, 4, 2, 2))["status"]["networks"] == 2


def test_status_tells_what_is_used_of_a_quota_while_there_is_one():
    usage = Usage(1_000, 20, 4, 2)
    tenant = {"spec": {"quota": {"objects": "30", "pods": "5"}}, "status": {}}
    told = tenantstatus.told(tenant, usage, {"pods": "2"})
    assert told["status"]["quota"] == {"hard": {"objects": "30", "pods": "5"}, "used": {"objects": "20", "pods": "2"}}
    assert tenantstatus.told(told, usage, {"pods": "2"}) is told
    assert tenantstatus.told(told, usage, {"pods": "3"})["status"]["quota"]["used"]["pods"] == "3"
    assert "quota" not in tenantstatus.told({**told, "spec": {}}, usage)["status"]


@pytest.mark.parametrize(("quota", "good"), [
    ({"storedBytes": "1Gi", "pods": "10", "objects": "1k", "eventsPerSecond": "5", "floatingIPs": "1"}, True),
    ({"requests.cpu": "4", "limits.memory": "8Gi", "storage": "1Ti", "count/networks.hypernetes.io": "2"}, True),
    ({"widgets": "1"}, False), ({"pods": "-1"}, False),
])  # fmt: skip
def test_a_quota_bounds_what_can_be_bounded(quota, good):
    tenant = {"metadata": {"name": "acme"}, "spec": {"serviceCIDR": "10.254.0.0/16", "quota": quota}}
    assert (tenants.validate(tenant) == []) is good
