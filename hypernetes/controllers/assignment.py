"""Which of several hn-controllers works for which tenant: plain decisions.

    members of generation 7: a, b ──► tenant acme is b's
    c comes, or b goes            ──► generation 8: a, c

An assignment is a list of members; a tenant is the one's whose hash with the tenant's name is the highest (rendezvous
hashing), so that a change moves the tenants of those who come or go and no others. That no two ever work for one:

1. Each member has a Lease, which it renews or stops working before it expires. Only the leader judges that one has
   expired, and then deletes it, by compare-and-swap: who finds its Lease deleted is no member any more.
2. Only the leader writes assignments, into its own Lease, also by compare-and-swap: so there is one, with a generation.
3. Who sees a new generation first ends what it does for tenants that it loses, and then writes the generation into its
   Lease: it has confirmed it.
4. A member begins with tenants that it gains once everyone of the assignment's `awaited` has confirmed it or has no
   Lease any more, and with caches that were read after that.
5. The leader makes the next generation only once all who are awaited have confirmed this one. So whoever may still be
   working for a tenant is a member of this generation or of the one before, and is awaited.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import orjson


@dataclass(frozen=True, slots=True)
class Assignment:
    generation: int
    members: tuple[str, ...]
    awaited: tuple[str, ...]  # who may be working for tenants that are others' now

    def to_json(self) -> str:
        value = {"generation": self.generation, "members": self.members, "awaited": self.awaited}
        return orjson.dumps(value).decode()

    @classmethod
    def from_json(cls, text: str) -> "Assignment":
        """Raises ValueError for what is none."""
        try:
            value = orjson.loads(text)
            return cls(int(value["generation"]), tuple(value["members"]), tuple(value["awaited"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not an assignment of tenants: {text[:200]!r}") from error

    def settled(self, confirmed: Mapping[str, int]) -> bool:
        """Whether nobody works any more for a tenant that isn't its own. `confirmed`: the generation that each member
        with a Lease has confirmed."""
        return all(confirmed.get(name, self.generation) >= self.generation for name in self.awaited)


@dataclass(frozen=True, slots=True)
class Member:
    """One that has a Lease. `renewed` (seconds): for how long we have seen it renewed."""

    confirmed: int
    renewed: float


def owner(members: tuple[str, ...], tenant: str) -> str | None:
    """None where there are no members."""
    return members[0] if len(members) == 1 else _highest(members, tenant)


@lru_cache(maxsize=65_536)
def _highest(members: tuple[str, ...], tenant: str) -> str | None:
    return max(members, key=lambda name: _weight(name, tenant), default=None)


def _weight(name: str, tenant: str) -> bytes:
    return hashlib.blake2b(f"{name}/{tenant}".encode(), digest_size=8).digest()


def next_assignment(
    current: Assignment | None, members: Mapping[str, Member], *, ripe: float, active: int | None
) -> Assignment | None:
    """The one that the leader is to write; None while the current one stands.

    Who has come counts after `ripe` seconds only, so that a process that ends again and again takes no tenants; unless
    there is nobody else. At most `active` members have tenants (None: all), the others stand by.
    """
    if current is not None and not current.settled({name: member.confirmed for name, member in members.items()}):
        return None
    stayed = [] if current is None else [name for name in current.members if name in members]
    ripened = sorted(name for name, member in members.items() if name not in stayed and member.renewed >= ripe)
    wanted = ([*stayed, *ripened] or sorted(members))[:active]
    if current is not None and sorted(wanted) == sorted(current.members):
        return None
    known = max((member.confirmed for member in members.values()), default=0)
    if current is None:
        # The first, or that of a Lease which somebody has deleted: then everybody may be working for anyone.
        awaited = sorted(name for name, member in members.items() if member.confirmed)
        return Assignment(known + 1, tuple(sorted(wanted)), tuple(awaited))
    generation = max(known, current.generation) + 1
    return Assignment(generation, tuple(sorted(wanted)), tuple(sorted(stayed)))
