"""acme, who attacks, and globex and the provider, who have something to hide."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hypernetes.apiserver.storage.opening import open_store
from hypernetes.pki import node_role
from tests.integration.api.servers import Answer, User, serving
from tests.integration.isolation import samples
from tests.integration.isolation.belongings import HELD, belongings
from tests.integration.isolation.canaries import Canaries
from tests.integration.isolation.multiplexed import MultiplexedUser, multiplexed
from tests.integration.isolation.offered import Offered, discovered
from tests.integration.isolation.witnesses import Witness

VICTIM = "/tenants/globex"
SHARED = frozenset({"Node"})  # of the provider's tenant, shown to all
# Of the provider, among those kinds of which tenants are shown a part, and of those that are dearest.
_PROVIDERS = frozenset({"ConfigMap", "Secret", "ClusterRole", "ClusterRoleBinding", "PriorityClass"})


@dataclass(slots=True)
class World:
    provider: User
    acme: Witness  # its administrator
    globex: User
    agent: Witness  # of a node that has a pod of acme only
    other_agent: User  # of a node that has a pod of globex
    canaries: Canaries
    offered: dict[tuple[str, str], Offered]  # to the provider
    to_tenants: dict[tuple[str, str], Offered]
    before: str  # a revision at which acme was there, and nothing of globex
    hidden_namespace: str = ""
    known: dict[tuple[str, str], str] = field(default_factory=dict)  # names in globex

    @property
    def stored(self) -> list[Offered]:
        return [each for each in self.offered.values() if each.stored]

    def belongs_to_tenants(self, resource: Offered, subresource: str, verb: str) -> bool:
        """Whether an administrator of a tenant may do it in the own one."""
        offered = self.to_tenants.get(resource.id)
        return offered is not None and offered.allows(subresource, verb)

    def owner(self, resource: Offered, subresource: str, verb: str) -> User:
        mine = resource.kind not in SHARED and self.belongs_to_tenants(resource, subresource, verb)
        return self.globex if mine else self.provider

    def root(self, resource: Offered) -> str:
        """Where globex's objects lie. Tenants and nodes are the provider's."""
        return "" if resource.kind in SHARED or resource.kind == "Tenant" else VICTIM

    async def fill(self) -> None:
        """Objects of every kind for globex: those whose names acme knows, and those of which it knows nothing."""
        self.hidden_namespace = self.canaries.fresh()
        for where, user in ((VICTIM, self.globex), ("/tenants/system", self.provider)):
            namespace = {"metadata": {"name": self.hidden_namespace, "labels": {self.canaries.fresh(): "x"}}}
            await ok(user("POST", f"{where}/api/v1/namespaces", namespace))
        account = {"metadata": {"name": "default"}}
        await ok(self.globex("POST", f"/api/v1/namespaces/{self.hidden_namespace}/serviceaccounts", account))
        for number, resource in enumerate(self.stored):
            name = "globex" if resource.kind == "Tenant" else samples.named(resource, f"known-{number}")
            self.known[resource.id] = name
            if resource.kind == "Tenant":
                continue  # it is there, with its canary, from the beginning
            await self.make(resource, VICTIM, "default", name)
            if resource.kind not in SHARED:
                await self.make(resource, VICTIM, self.hidden_namespace)
            if resource.kind in _PROVIDERS:
                await self.make(resource, "/tenants/system", self.hidden_namespace)

    async def make(self, resource: Offered, root: str, namespace: str, name: str = "") -> None:
        """With a canary; without `name` this is one, too, and its UID is a secret."""
        if resource.kind in SHARED:
            root = ""
        body = samples.sample(
            resource, namespace, name or samples.named(resource, self.canaries.fresh()), self.canaries.fresh()
        )
        made = await ok(self.provider("POST", root + resource.path(namespace), body))
        if not name:
            self.canaries.secret.add(made.json["metadata"]["uid"])

    async def run_pods(self) -> None:
        """A pod of each tenant on a node of its own; both name a Secret and a claim, as those of globex are called."""
        secret, claim = self.known["v1", "secrets"], self.known["v1", "persistentvolumeclaims"]
        config_map = self.known["v1", "configmaps"]
        sources = [{"secretRef": {"name": secret}}, {"configMapRef": {"name": config_map}}]
        spec = {
            "containers": [{"name": "c", "image": "i", "envFrom": sources}],
            "volumes": [{"name": f"v-{name}", "persistentVolumeClaim": {"claimName": name}} for name in (claim, HELD)],
        }
        for tenant, node in (("acme", "n1"), ("globex", "n2")):
            label = "mine" if tenant == "acme" else self.canaries.fresh()
            for where, body in belongings(node, label):
                await ok(self.provider("POST", f"/tenants/{tenant}{where}", body))
            path = f"/tenants/{tenant}/api/v1/namespaces/default/pods"
            await ok(self.provider("POST", path, {"metadata": {"name": "names-it"}, "spec": spec}))
            binding = {"metadata": {"name": "names-it"}, "target": {"kind": "Node", "name": node}}
            await ok(self.provider("POST", f"{path}/names-it/binding", binding))

    async def everything(self) -> dict[str, bytes]:
        """All that globex has, to see that nobody touched it."""
        found = {}
        for resource in self.stored:
            listed = await ok(self.provider("GET", self.root(resource) + resource.path()))
            items = listed.json["items"]
            if resource.kind == "Tenant":  # what it uses is written into its status a while later
                items = [each["spec"] for each in items if each["metadata"]["name"] == "globex"]
            found[resource.group_version + resource.name] = repr(items).encode()
        return found


async def ok(answering: object) -> Answer:
    """The answer of a request that must succeed."""
    answer: Answer = await answering  # type: ignore[misc]
    assert answer.status < 300, answer.body
    return answer


@asynccontextmanager
async def world(directory: Path, *, filled: bool = True, over_http2: bool = False) -> AsyncIterator[World]:
    """A server with the two tenants. acme asks over HTTP/1.1, unless it is to be `over_http2`."""
    async with AsyncExitStack() as stack:
        store = await open_store(str(directory / "state.db"))
        stack.push_async_callback(store.close)
        provider = await stack.enter_async_context(serving(store, directory, "isolation"))
        canaries = Canaries()
        attacker: User | MultiplexedUser = await provider.tenant("acme")
        if over_http2:
            attacker = await stack.enter_async_context(multiplexed(await provider.administrator("acme")))
        acme = await stack.enter_async_context(Witness(attacker, canaries))
        marked = {"labels": {canaries.fresh(): "x"}, "annotations": {"a": canaries.fresh()}}
        tenant = {"metadata": {"name": "globex", **marked}, "spec": {"displayName": canaries.fresh()}}
        before = (await ok(provider("GET", "/api/v1/namespaces"))).json["metadata"]["resourceVersion"]
        await ok(provider("POST", "/apis/hypernetes.io/v1/tenants", tenant))
        globex = await stack.enter_async_context(await provider.administrator("globex"))
        agent = await stack.enter_async_context(Witness(await provider.component(node_role("n1")), canaries))
        other = await stack.enter_async_context(await provider.component(node_role("n2")))
        offered, to_tenants = await discovered(provider), await discovered(globex)
        made = World(provider, acme, globex, agent, other, canaries, offered, to_tenants, before)
        if filled:
            await made.fill()
            await made.run_pods()
        yield made


def own_name(resource: Offered, number: int) -> str:
    return samples.named(resource, f"own-{number}")
