"""For which tenants this process works now. Plain state; `membership.py` says when it changes.

Three answers, from the widest to the narrowest: what informers keep (`accepts`), what queues keep until it is ours
(`expects`), what is worked on (`acts_on`). The elected process keeps in addition whatever controllers of the cluster as
a whole read.
"""

from collections.abc import Callable

from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.controllers.assignment import owner

Tenants = Callable[[str], bool]


class Shard:
    """Of the member `name`. It begins with nothing."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._members: tuple[str, ...] = ()
        # A tenant is worked for while it is ours in all of these: the assignment that was opened last, and those since.
        self._open: tuple[tuple[str, ...], ...] = ((),)
        self.elected = False  # whether work on the cluster as a whole is wanted here
        self.elected_open = False  # whether its caches are complete
        self.held: Callable[[], bool] = lambda: True  # whether this process has its Lease still; for any thread

    @classmethod
    def of_everything(cls) -> "Shard":
        """For a process that is alone."""
        shard = cls("alone")
        shard.narrow(("alone",))
        shard.open()
        shard.elected = shard.elected_open = True
        return shard

    @property
    def has_tenants(self) -> bool:
        return self._name in self._members

    def narrow(self, members: tuple[str, ...]) -> bool:
        """A new assignment. What it takes is no longer acted on; whether it gives anything, which is after `open`."""
        self._members = members
        self._open = (*self._open, members)
        # Where others have only come, nothing is given: what is ours was ours before.
        if self.has_tenants and not all(self._name in each and {*each} <= {*members} for each in self._open):
            return True
        self.open()
        return False

    def open(self) -> None:
        """What the latest assignment gives is ours alone now, and in the caches."""
        self._open = (self._members,)

    def expects(self, tenant: str) -> bool:
        return owner(self._members, tenant) == self._name

    def acts_on(self, tenant: str) -> bool:
        return all(owner(members, tenant) == self._name for members in self._open)

    def accepts(self, tenant: str, namespace: str) -> bool:
        """What the provider has for the whole cluster (nodes, classes, tenants) is for everybody."""
        return (tenant == SYSTEM_TENANT and not namespace) or self.expects(tenant)
