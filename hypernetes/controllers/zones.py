"""How fast lost nodes are emptied: zone by zone, and slower the more of a zone is lost.

When many nodes of a zone fall silent at once, it is likelier that the zone's network fails than that all of them have
died, and moving everything would do more harm than waiting. So the taint that makes pods leave is put on so many nodes
per second, by the state of the zone (numbers and rules are those of the Kubernetes documentation on nodes):

    a zone in which some are lost                             the normal rate
    one in which many are (partial disruption)                a lower one if it is large, else none
    one without a ready node (full disruption)                the normal rate: its pods can go to other zones
    all zones without a ready node                            none: then it is likelier that we are cut off
"""

import math
from dataclasses import dataclass
from enum import Enum, auto

from hypernetes.api.models.core_v1 import Node

REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
_FEW = 2  # lost nodes that are no disruption, whatever share of the zone they are


@dataclass(frozen=True, slots=True)
class Rates:
    """Nodes per second, and from when on they hold."""

    normal: float = 0.1
    disrupted: float = 0.01  # in a large zone under partial disruption
    large: int = 50  # a zone of more nodes is large
    unhealthy_share: float = 0.55  # of a zone's nodes lost: partial disruption


class State(Enum):
    NORMAL = auto()
    PARTIAL = auto()
    FULL = auto()


@dataclass(slots=True)
class Zone:
    """Its nodes, counted."""

    ready: int = 0
    lost: int = 0

    @property
    def size(self) -> int:
        return self.ready + self.lost

    def state(self, rates: Rates) -> State:
        if not self.ready and self.lost:
            return State.FULL
        if self.lost > _FEW and self.lost / self.size >= rates.unhealthy_share:
            return State.PARTIAL
        return State.NORMAL

    def rate(self, rates: Rates) -> float:
        """Nodes per second that may be emptied, while not all zones are lost."""
        if self.state(rates) is not State.PARTIAL:
            return rates.normal
        return rates.disrupted if self.size > rates.large else 0.0


def zone_of(node: Node) -> tuple[str, str]:
    """Region and zone; nodes that say neither are a zone together."""
    return node.metadata.labels.get(REGION, ""), node.metadata.labels.get(ZONE, "")


class Census:
    """All nodes by zone and readiness, kept up to date node by node."""

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[tuple[str, str], bool]] = {}
        self._zones: dict[tuple[str, str], Zone] = {}

    def put(self, name: str, zone: tuple[str, str], ready: bool) -> None:
        self.remove(name)
        self._nodes[name] = zone, ready
        self._count(zone, ready, 1)

    def remove(self, name: str) -> None:
        if (known := self._nodes.pop(name, None)) is not None:
            self._count(*known, -1)

    def _count(self, zone: tuple[str, str], ready: bool, step: int) -> None:
        counted = self._zones.setdefault(zone, Zone())
        if ready:
            counted.ready += step
        else:
            counted.lost += step
        if not counted.size:
            del self._zones[zone]

    @property
    def all_lost(self) -> bool:
        return not any(zone.ready for zone in self._zones.values())

    def rate(self, zone: tuple[str, str], rates: Rates) -> float:
        return 0.0 if self.all_lost else self._zones.get(zone, Zone()).rate(rates)


class Pace:
    """Turns of each zone's nodes, one after the other. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], float] = {}

    def wait(self, zone: tuple[str, str], rate: float, now: float) -> float:
        """Seconds until the zone's next turn at this rate; 0: now. Infinite while there is none."""
        if rate <= 0:
            return math.inf
        last = self._last.get(zone)
        return 0.0 if last is None else max(0.0, last + 1 / rate - now)

    def take(self, zone: tuple[str, str], now: float) -> float | None:
        """Takes a turn. Gives what `give_back` wants if nothing comes of it."""
        former = self._last.get(zone)
        self._last[zone] = now
        return former

    def give_back(self, zone: tuple[str, str], former: float | None) -> None:
        if former is None:
            self._last.pop(zone, None)
        else:
            self._last[zone] = former
