"""ClusterRoles with an aggregationRule hold the rules of all ClusterRoles of their tenant whose labels it selects.

The default roles (`admin`, `edit`, `view`) are the server's: they lie once in `system`, for all tenants, and what a
tenant adds to them the server counts in that tenant alone. Here they are only parts of what tenants aggregate.
"""

from collections import defaultdict
from collections.abc import Iterable

from hypernetes.api import selectors
from hypernetes.api.models.rbac_v1 import ClusterRole, PolicyRule
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.client import Client, EventRecorder, Key
from hypernetes.controllers.controller import Controller
from hypernetes.controllers.informers import Informers, namespace_index
from hypernetes.controllers.writes import Update, Write, carry_out

_DEFAULTS_LABEL = ("kubernetes.io/bootstrapping", "rbac-defaults")


def is_default(role: ClusterRole) -> bool:
    """Whether every tenant has it, from `system`."""
    label, value = _DEFAULTS_LABEL
    return role.metadata.labels.get(label) == value


def plan(role: ClusterRole, others: Iterable[ClusterRole]) -> list[Write]:
    """`others` are all ClusterRoles that there are in the tenant, this one too. Rules come in the order of names."""
    if role.aggregation_rule is None or role.metadata.deletion_timestamp is not None:
        return []
    wanted = [selectors.from_object(each.to_dict()) for each in role.aggregation_rule.cluster_role_selectors]
    rules: list[PolicyRule] = []
    for other in sorted(others, key=lambda each: each.metadata.name or ""):
        if other.metadata.name == role.metadata.name or not any(wants(other.metadata.labels) for wants in wanted):
            continue
        rules += [rule for rule in other.rules if rule not in rules]
    if rules == role.rules:
        return []
    return [Update(role.model_copy(update={"rules": rules}))]


class ClusterRoleAggregation(Controller):
    name = "clusterrole-aggregation"

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder) -> None:
        super().__init__(client, informers, recorder)
        self._roles = informers.of(ClusterRole)
        self._aggregated: defaultdict[str, set[Key]] = defaultdict(set)  # by tenant: those with an aggregationRule
        self._roles.on_change(self._changed)

    def _changed(self, key: Key, old: ClusterRole | None, new: ClusterRole | None) -> None:
        if new is not None and new.aggregation_rule is not None:
            self._aggregated[key.tenant].add(key)
        else:
            self._aggregated[key.tenant].discard(key)
        shared = key.tenant == SYSTEM_TENANT and any(role is not None and is_default(role) for role in (old, new))
        for tenant in list(self._aggregated) if shared else (key.tenant,):
            for concerned in self._aggregated[tenant]:
                self.queue.add(concerned)

    async def reconcile(self, key: Key) -> float | None:
        role = self._roles.get(key)
        if role is None or (key.tenant == SYSTEM_TENANT and is_default(role)):
            return None
        own = self._of(key.tenant)
        names = {each.metadata.name for each in own}
        shared = [each for each in self._of(SYSTEM_TENANT) if is_default(each) and each.metadata.name not in names]
        await carry_out(self.client, key.tenant, plan(role, [*own, *shared]))
        return None

    def _of(self, tenant: str) -> list[ClusterRole]:
        return self._roles.by_index("namespace", namespace_index(tenant, None))
