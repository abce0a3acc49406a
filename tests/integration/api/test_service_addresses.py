"""Addresses and ports of services: who gets which, what becomes of them, and that none is given twice or lost."""

import asyncio
import random
import secrets
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from hypernetes.api import scheme, times
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.claimrepair import ClaimRepair
from hypernetes.apiserver.contents import ADDRESSES
from hypernetes.apiserver.follower import Follower
from hypernetes.apiserver.handlers.claims import NODE_PORTS
from hypernetes.apiserver.implied import Implications
from hypernetes.apiserver.keys import Keys
from hypernetes.apiserver.lookups import Lookups
from hypernetes.apiserver.mirror import Mirror
from hypernetes.apiserver.objects import Objects
from hypernetes.apiserver.registry import nodeports, services
from hypernetes.apiserver.storage.base import SideWrite, Store
from hypernetes.apiserver.storage.opening import open_store
from hypernetes.apiserver.watchers import Watchers
from hypernetes.client import REQUEST_ERRORS, Client, ClientConfig
from tests.integration.api import fuzzing
from tests.integration.api.servers import Answer, User
from tests.integration.control_plane import ControlPlane, running

Object = dict[str, Any]

SERVICES = "/api/v1/namespaces/default/services"
NETWORKING = "/apis/networking.k8s.io/v1"
IPS, CIDRS = f"{NETWORKING}/ipaddresses", f"{NETWORKING}/servicecidrs"
MERGE = {"Content-Type": "application/merge-patch+json"}
READY = {"type": "Ready", "status": "True", "reason": "", "message": "", "lastTransitionTime": "2030-01-01T00:00:00Z"}


def service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}], **spec}}


async def add_range(user: User, name: str, *cidrs: str) -> None:
    """A range that is ready, as its controller puts it."""
    assert (await user("POST", CIDRS, {"metadata": {"name": name}, "spec": {"cidrs": list(cidrs)}})).status == 201
    told = await user("PATCH", f"{CIDRS}/{name}/status", {"status": {"conditions": [READY]}}, headers=MERGE)
    assert told.status == 200, told.body


async def addresses(user: User) -> dict[str, str]:
    """Address -> the service that has it."""
    listed = (await user("GET", IPS)).json["items"]
    return {each["metadata"]["name"]: each["spec"]["parentRef"]["name"] for each in listed}


def causes(answer: Answer) -> list[tuple[str, str]]:
    assert answer.status == 422, answer.body
    return [(cause["field"], cause["message"]) for cause in answer.json["details"]["causes"]]


async def patched(user: User, name: str, **spec: Any) -> Answer:
    return await user("PATCH", f"{SERVICES}/{name}", {"spec": spec}, headers=MERGE)


async def test_addresses_of_services_over_their_lives(admin: User) -> None:
    async with await admin.tenant("acme", serviceCIDR="10.96.0.0/24") as user:
        (default,) = (await user("GET", CIDRS)).json["items"]
        assert (default["metadata"]["name"], default["spec"]) == ("kubernetes", {"cidrs": ["10.96.0.0/24"]})
        assert default["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]
        assert default["status"]["conditions"][0]["status"] == "True"
        assert await addresses(user) == {"10.96.0.1": "kubernetes"}

        before = (await user("GET", IPS)).json["metadata"]["resourceVersion"]
        async with user.watch(IPS, resourceVersion=before) as watch:
            made = (await user("POST", SERVICES, service("web", type="NodePort"))).json["spec"]
            chosen = made["clusterIP"]
            assert 16 < int(chosen.rpartition(".")[2]) < 255  # the first sixteenth is for those who ask
            assert 30_086 <= made["ports"][0]["nodePort"] <= 32_767
            assert await watch.names(1) == [("ADDED", chosen)]
            found = (await user("GET", f"{IPS}/{chosen}")).json
            assert found["spec"] == {"parentRef": {"resource": "services", "namespace": "default", "name": "web"}}
            assert found["metadata"]["labels"] == {
                "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            }  # fmt: skip
            assert (await user("POST", f"{SERVICES}?dryRun=All", service("dry"))).status == 201
            gone = await patched(user, "web", type="ExternalName", externalName="a.b", clusterIP=None, clusterIPs=None,
                                 selector=None, ports=None)  # fmt: skip
            assert "clusterIP" not in gone.json["spec"], gone.body
            assert await watch.names(1) == [("DELETED", chosen)]
            back = await patched(user, "web", type="ClusterIP", externalName=None, ports=[{"port": 80}])
            assert await watch.names(1) == [("ADDED", back.json["spec"]["clusterIP"])]
            assert (await user("DELETE", f"{SERVICES}/web")).status == 200
            assert await watch.names(1) == [("DELETED", back.json["spec"]["clusterIP"])]

        # who asks
        assert (await user("POST", SERVICES, service("asked", clusterIP="10.96.0.9"))).status == 201
        taken = causes(await user("POST", SERVICES, service("late", clusterIP="10.96.0.9")))
        assert taken[0][0] == "spec.clusterIPs"
        assert "already allocated" in taken[0][1]
        assert "is reserved" in causes(await user("POST", SERVICES, service("dns", clusterIP="10.96.0.2")))[0][1]
        assert "valid range" in causes(await user("POST", SERVICES, service("far", clusterIP="10.97.0.9")))[0][1]
        held = await user("DELETE", f"{IPS}/10.96.0.9")
        assert (held.status, held.json["reason"]) == (403, "Forbidden")
        other = {"metadata": {"name": "10.96.0.8"}, "spec": {"parentRef": {"resource": "gateways", "name": "g"}}}
        assert (await user("POST", IPS, other)).status == 201  # kept by hand
        assert causes(await user("POST", SERVICES, service("late", clusterIP="10.96.0.8")))[0][0] == "spec.clusterIPs"
        assert (await user("DELETE", f"{IPS}/10.96.0.8")).status == 200
        assert (await user("POST", SERVICES, service("late", clusterIP="10.96.0.8"))).status == 201

        # a full range, and one more
        for start in range(0, 250, 50):
            await asyncio.gather(*(user("POST", SERVICES, service(f"s{n}")) for n in range(start, start + 50)))
        full = await user("POST", SERVICES, service("full"))
        assert (full.status, full.json["message"].endswith("full")) == (500, True)
        await add_range(user, "more", "10.98.0.0/28")
        more = (await user("POST", SERVICES, service("full"))).json["spec"]["clusterIP"]
        assert more.startswith("10.98.0.")
        assert len(await addresses(user)) == 254  # 10.96.0.2 is nobody's


async def test_services_with_two_families(admin: User) -> None:
    async with await admin.tenant("acme", serviceCIDR="10.96.0.0/24") as user:
        both: Object = {"ipFamilyPolicy": "RequireDualStack"}
        assert causes(await user("POST", SERVICES, service("two", **both)))[0][0] == "spec.ipFamilyPolicy"
        assert (await user("POST", SERVICES, service("one", ipFamilyPolicy="PreferDualStack"))).status == 201
        await add_range(user, "six", "fd00:1::/112")
        made = (await user("POST", SERVICES, service("two", **both))).json["spec"]
        assert made["ipFamilies"] == ["IPv4", "IPv6"]
        first, second = made["clusterIPs"]
        assert (made["clusterIP"], second.startswith("fd00:1::")) == (first, True)
        entries = {each["metadata"]["name"]: each for each in (await user("GET", IPS)).json["items"]}
        revisions = {entries[address]["metadata"]["resourceVersion"] for address in (first, second)}
        assert len(revisions) == 2  # a watch that is resumed between them loses none

        unasked = await user("PATCH", f"{SERVICES}/one", {"metadata": {"labels": {"a": "b"}}}, headers=MERGE)
        assert unasked.json["spec"]["ipFamilies"] == ["IPv4"]
        upgraded = (await patched(user, "one", ipFamilyPolicy="RequireDualStack")).json["spec"]
        assert len(upgraded["clusterIPs"]) == 2
        assert causes(await patched(user, "one", clusterIPs=upgraded["clusterIPs"][:1]))[0][0] == "spec.ipFamilyPolicy"
        single = (await patched(user, "one", ipFamilyPolicy="SingleStack")).json["spec"]
        assert (single["clusterIPs"], single["ipFamilies"]) == (upgraded["clusterIPs"][:1], ["IPv4"])
        assert set(await addresses(user)) == {"10.96.0.1", first, second, single["clusterIP"]}
        assert (await user("DELETE", f"{SERVICES}/two")).status == 200
        assert set(await addresses(user)) == {"10.96.0.1", single["clusterIP"]}


class Swept:
    """What the store holds of each tenant, after the sweep."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def check(self, tenant: str) -> int:
        """Whether every claim is one service's, and every service has its claims; how many services there are."""
        mirror, keys = self._mirror, self._mirror.keys
        prefix = keys.range(scheme.by_name("v1", "services"), tenant)
        found = [orjson.loads(entry.data) for entry in mirror.range(prefix)]
        given = Counter(address for each in found for address in services.addresses(each))
        ports = Counter(str(number) for each in found for number in nodeports.held(each))
        assert [each for each, count in (given + ports).items() if count > 1] == []
        claimed = {entry.name.name for entry in mirror.range(keys.range(ADDRESSES, tenant)) if entry.name}
        assert claimed == set(given)
        numbers = {entry.key.rpartition("/")[2] for entry in mirror.range(keys.internal(NODE_PORTS, tenant, ""))}
        assert numbers == set(ports)
        return len(found)


async def sweep(store: Store, cluster_id: str) -> Swept:
    """Repairs as a server would a minute later, and looks again at what there is."""
    keys = Keys(cluster_id)
    implied = Implications(keys, "PEM", "PROXY")
    mirror = Mirror(keys, implied=implied)
    following = asyncio.create_task(Follower(store, mirror, Watchers(), []).run())
    try:
        await mirror.wait_for(await store.revision())
        objects = Objects(store, mirror, keys, implied)
        repair = ClaimRepair(store, mirror, objects, Lookups(mirror), lambda: times.now() + timedelta(seconds=61))
        await repair.sweep()
        await mirror.wait_for(await store.revision())
        assert await repair.sweep() == 0
    finally:
        following.cancel()
    return Swept(mirror)


class Storm:
    """Creates and deletes services of two tenants at two servers (or the same one twice), while those are killed."""

    def __init__(self, clients: list[Client], seed: int) -> None:
        self._clients, self._random = clients, random.Random(seed)
        self.alive = asyncio.Event()
        self.made = 0
        self.progress = asyncio.Condition()

    async def worker(self, tenant: str, number: int) -> None:
        path = f"/tenants/{tenant}{SERVICES}"
        for turn in range(3):
            await self.alive.wait()
            client, name = self._random.choice(self._clients), f"s{number}-{turn}"
            with suppress(*REQUEST_ERRORS):
                body = service(
                    name, type="NodePort", ipFamilyPolicy=self._random.choice(["SingleStack", "PreferDualStack"])
                )
                if self._random.random() < 0.2:
                    body["spec"]["clusterIP"] = f"10.96.0.{self._random.randint(3, 254)}"
                await client.request("POST", path, json=body)
                async with self.progress:
                    self.made += 1
                    self.progress.notify_all()
                if self._random.random() < 0.6:
                    await client.request("DELETE", f"{path}/{name}")

    async def until(self, made: int) -> None:
        async with self.progress:
            await self.progress.wait_for(lambda: self.made >= made)


@pytest.mark.parametrize("kind", ["sqlite", "etcd"])
async def test_no_address_is_given_twice_or_lost_whatever_is_killed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    options = ("--store", request.getfixturevalue("etcd").location) if kind == "etcd" else ()
    chance = random.Random(fuzzing.SEED)
    async with running(tmp_path, options=options) as (plane, client):
        for tenant in ("acme", "other"):
            body = {"metadata": {"name": tenant}, "spec": {"serviceCIDR": "10.96.0.0/24"}}
            await client.request("POST", "/apis/hypernetes.io/v1/tenants", json=body)
            range6: Object = {"metadata": {"name": "six"}, "spec": {"cidrs": ["fd00:1::/112"]}}
            path = f"/tenants/{tenant}{CIDRS}"
            await client.request("POST", path, json=range6)
            range6["status"] = {"conditions": [READY]}
            await client.request("PUT", f"{path}/six/status", json=range6)
        second = ControlPlane(tmp_path) if kind == "etcd" else plane
        if second is not plane:
            await second.start("apiserver", *options)
        config = ClientConfig.from_kubeconfig(plane.layout.admin_kubeconfig)
        try:
            async with Client(replace(config, server=f"https://127.0.0.1:{second.port}")) as other:
                await second.wait_ready(other)
                storm = Storm([client, other], fuzzing.SEED)
                storm.alive.set()
                work = asyncio.gather(*(storm.worker(t, n) for t in ("acme", "other") for n in range(100)))
                for at in (chance.randint(20, 100), chance.randint(150, 300)):
                    await storm.until(at)
                    storm.alive.clear()
                    victim, through = chance.choice([(plane, client), (second, other)])
                    await victim.stop("apiserver", signal.SIGKILL)
                    await victim.start("apiserver", *options)
                    await victim.wait_ready(through)
                    storm.alive.set()
                await work
        finally:
            if second is not plane:
                await second.stop_all()
        await plane.stop("apiserver", signal.SIGKILL)
    cluster_id = plane.layout.load_or_create(bind="127.0.0.1", port=plane.port).id
    store = await open_store(options[1] if options else str(tmp_path / "store" / "state.db"))
    try:
        swept = await sweep(store, cluster_id)
        assert min(swept.check("acme"), swept.check("other")) > 20
        swept.check(SYSTEM_TENANT)
        await put_in_disorder(store, Keys(cluster_id))
        (await sweep(store, cluster_id)).check("acme")
    finally:
        await store.close()


async def put_in_disorder(store: Store, keys: Keys) -> None:
    """As an earlier mistake or a hand in the store might have: a claim is missing, others have no service."""
    page = await store.list(keys.range(ADDRESSES, "acme"))
    lost = next(item for item in page.items if not item.key.endswith("/10.96.0.1"))
    await store.delete(lost.key, lost.revision)
    leaked = lost.value.replace(b'"name":"s', b'"name":"gone-').replace(
        lost.key.rpartition("/")[2].encode(), b"10.96.0.0"
    )
    await store.write([SideWrite(keys.of(ADDRESSES, "acme", "", "10.96.0.0"), leaked)])
    claim = {"kind": "Service", "namespace": "default", "name": "gone", "uid": secrets.token_hex(8)}
    await store.write([SideWrite(keys.internal(NODE_PORTS, "acme", "30000"), orjson.dumps(claim))])
