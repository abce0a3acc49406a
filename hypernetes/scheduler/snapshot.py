"""The cluster as arrays, so that a filter or a score is one operation for all nodes.

Each node has a row. Columns: resources (amounts), label keys (numbers that stand for values), taints (yes or no).
Only nodes add columns; what pods name that no node has needs none. So no tenant can make the arrays grow.
"""

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from hypernetes.api.models.core_v1 import Node
from hypernetes.scheduler.demands import ATTACHABLE, CPU, MEMORY, NODE_BYTES, PODS, amount
from hypernetes.scheduler.neighbours import Neighbours
from hypernetes.scheduler.relations import Relations

Mask = npt.NDArray[np.bool_]
Amounts = npt.NDArray[np.int64]

_FIRST_ROWS = 64
_REMEMBERED_ROWS = 4096  # changes after which an evaluation is done anew
# What a pod that requests none counts as in scores, so that such pods spread too; upstream's numbers.
_ASSUMED_CPU, _ASSUMED_MEMORY = 100, 200 * 1024 * 1024
_UNBOUNDED = 2**51  # of a resource that is bounded only where a node says so; above all amounts
UNSCHEDULABLE_TAINT = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True, slots=True)
class NodeTaint:
    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What of a Node matters here; equal facts are no change."""

    allocatable: tuple[tuple[str, int], ...]
    labels: tuple[tuple[str, str], ...]
    taints: tuple[NodeTaint, ...]
    unschedulable: bool

    @classmethod
    def of(cls, node: Node) -> "NodeFacts":
        return cls(
            tuple(sorted((name, amount(name, text)) for name, text in node.status.allocatable.items())),
            tuple(sorted(node.metadata.labels.items())),
            tuple(NodeTaint(taint.key, taint.value or "", taint.effect) for taint in node.spec.taints),
            bool(node.spec.unschedulable),
        )


class LabelColumn:
    """One label key: per row the number of its value, -1 where the node hasn't the label."""

    def __init__(self, rows: int) -> None:
        self.numbers = np.full(rows, -1, np.int32)
        self.values: dict[str, int] = {}

    def set(self, row: int, value: str) -> None:
        self.numbers[row] = self.values.setdefault(value, len(self.values))


@dataclass(frozen=True, slots=True)
class Placement:
    """A pod that counts on a node, there or assumed to be soon."""

    node: str
    tenant: str
    requests: tuple[tuple[str, int], ...]
    priority: int = 0
    relations: Relations | None = None


class Cluster:
    """Nodes and what is placed on them. Rows of nodes that are gone are used again."""

    def __init__(self) -> None:
        self.resources: dict[str, int] = {CPU: 0, MEMORY: 1, PODS: 2}
        self.rows: dict[str, int] = {}
        self.names: list[str] = [""] * _FIRST_ROWS
        self.present: Mask = np.zeros(_FIRST_ROWS, np.bool_)
        self.unschedulable: Mask = np.zeros(_FIRST_ROWS, np.bool_)
        self.allocatable: Amounts = np.zeros((_FIRST_ROWS, 3), np.int64)
        self.used: Amounts = np.zeros((_FIRST_ROWS, 3), np.int64)
        self.scored: Amounts = np.zeros((_FIRST_ROWS, 2), np.int64)  # cpu, memory, with the assumed for none
        self.labels: dict[str, LabelColumn] = {}
        self.node_names = LabelColumn(_FIRST_ROWS)
        self.taints: dict[NodeTaint, Mask] = {}
        self.layout = 0  # raised when nodes change in anything but what is placed on them
        self._facts: dict[str, NodeFacts] = {}
        self._bytes_free: dict[str, int] = {}
        self._free_rows = list(range(_FIRST_ROWS - 1, -1, -1))
        self._placements: dict[Hashable, Placement] = {}
        self._on_node: dict[str, set[Hashable]] = {}
        self.neighbours = Neighbours()
        self._tenants: dict[str, Amounts] = {}
        self._pods_of: dict[str, dict[Hashable, None]] = {}  # by tenant
        self._priorities: dict[str, Counter[int]] = {}  # by tenant, of its pods
        self._capacity = np.ones(2, np.int64)  # of all nodes: cpu, memory; as of _capacity_layout
        self._capacity_layout = 0
        self.changes = 0  # counts changes of `used`
        self._changed_rows: deque[int] = deque(maxlen=_REMEMBERED_ROWS)

    # Nodes

    def set_node(self, name: str, facts: NodeFacts) -> bool:
        """Adds or changes a node; False if nothing of it changed."""
        if self._facts.get(name) == facts:
            return False
        self.layout += 1
        self._facts[name] = facts
        row = self.rows.get(name)
        if row is None:
            row = self._add_row(name)
        self.unschedulable[row] = facts.unschedulable
        for resource, column in self.resources.items():
            self.allocatable[row, column] = _UNBOUNDED if _is_optional(resource) else 0
        for resource, available in facts.allocatable:
            column = self._column(resource)  # first: it may replace the array
            self.allocatable[row, column] = available
        if name in self._bytes_free:
            column = self._column(NODE_BYTES)
            self.allocatable[row, column] = self._bytes_free[name]
        self._set_labels(row, facts.labels)
        for mask in self.taints.values():
            mask[row] = False
        for taint in facts.taints:
            self.taints.setdefault(taint, np.zeros(len(self.names), np.bool_))[row] = True
        return True

    def set_bytes_free(self, name: str, available: int | None) -> bool:
        """What a node has left for volumes that it keeps itself (None: it doesn't say). It changes all the time, so it
        is counted as what is placed is; False if nothing changed."""
        if self._bytes_free.get(name) == available:
            return False
        if available is None:
            del self._bytes_free[name]
        else:
            self._bytes_free[name] = available
        row = self.rows.get(name)
        if row is not None:
            column = self._column(NODE_BYTES)
            self.allocatable[row, column] = _UNBOUNDED if available is None else available
            self._changed_rows.append(row)
            self.changes += 1
        return True

    def remove_node(self, name: str) -> None:
        """Its pods stay known: they count again if it comes back before they are deleted."""
        row = self.rows.pop(name, None)
        if row is None:
            return
        self.layout += 1
        del self._facts[name]
        self._bytes_free.pop(name, None)
        self.present[row] = False
        self.names[row] = ""
        self._set_labels(row, ())
        self.node_names.numbers[row] = -1
        for mask in self.taints.values():
            mask[row] = False
        self.taints = {taint: mask for taint, mask in self.taints.items() if mask.any()}
        self.labels = {key: column for key, column in self.labels.items() if (column.numbers >= 0).any()}
        self._free_rows.append(row)

    # Pods

    def place(self, pod: Hashable, placement: Placement) -> bool:
        """Counts a pod on its node, instead of where it counted before; False where that is the same."""
        if self._placements.get(pod) == placement:
            return False
        self.remove(pod)
        self._placements[pod] = placement
        self._on_node.setdefault(placement.node, set()).add(pod)
        self._pods_of.setdefault(placement.tenant, {})[pod] = None
        self._priorities.setdefault(placement.tenant, Counter())[placement.priority] += 1
        self._count(placement, 1)
        return True

    def remove(self, pod: Hashable) -> bool:
        """Stops counting it; False if it wasn't counted."""
        placement = self._placements.pop(pod, None)
        if placement is None:
            return False
        pods = self._on_node[placement.node]
        pods.remove(pod)
        if not pods:
            del self._on_node[placement.node]
        self._forget(pod, placement)
        self._count(placement, -1)
        return True

    def placement(self, pod: Hashable) -> Placement | None:
        return self._placements.get(pod)

    def lower(self, tenant: str, priority: int) -> Iterator[tuple[Hashable, Placement]]:
        """The tenant's pods of lower priority."""
        if min(self._priorities.get(tenant, ()), default=priority) < priority:
            for pod in list(self._pods_of[tenant]):
                placement = self._placements[pod]
                if placement.priority < priority:
                    yield pod, placement

    def _forget(self, pod: Hashable, placement: Placement) -> None:
        pods, priorities = self._pods_of[placement.tenant], self._priorities[placement.tenant]
        del pods[pod]
        priorities[placement.priority] -= 1
        if not priorities[placement.priority]:
            del priorities[placement.priority]
        if not pods:
            del self._pods_of[placement.tenant], self._priorities[placement.tenant]

    # What filters, scores and the queue ask

    def vector(self, requests: Iterable[tuple[str, int]]) -> tuple[Amounts, list[str]]:
        """The requests as a row of `used`, and the resources that no node has."""
        row = np.zeros(len(self.resources), np.int64)
        unknown = []
        for resource, wanted in requests:
            column = self.resources.get(resource)
            if column is None:
                if not _is_optional(resource):
                    unknown.append(resource)
            else:
                row[column] = wanted
        return row, unknown

    def changed_rows(self, since: int) -> list[int] | None:
        """Rows whose `used` has changed since `changes` was at `since`; None if that is too long ago."""
        count = self.changes - since
        if count > len(self._changed_rows):
            return None
        return sorted(set(islice(reversed(self._changed_rows), count)))

    def dominant_share(self, tenant: str) -> float:
        """The largest share, over cpu and memory, of the cluster that the tenant's placed pods have requested."""
        used = self._tenants.get(tenant)
        if used is None:
            return 0.0
        if self._capacity_layout != self.layout:
            self._capacity = np.maximum(self.allocatable[self.present][:, :2].sum(axis=0), 1)
            self._capacity_layout = self.layout
        return float((used / self._capacity).max())

    def _count(self, placement: Placement, sign: int) -> None:
        vector, _ = self.vector(placement.requests)
        tenant = self._tenants.setdefault(placement.tenant, np.zeros(2, np.int64))
        tenant += sign * vector[:2]
        if not tenant.any():
            del self._tenants[placement.tenant]
        if placement.relations is not None:
            self.neighbours.count(self, placement.tenant, placement.node, placement.relations, sign)
        row = self.rows.get(placement.node)
        if row is not None:
            self.used[row] += sign * vector
            self.scored[row] += sign * scored(placement.requests)
            self._changed_rows.append(row)
            self.changes += 1

    def _add_row(self, name: str) -> int:
        if not self._free_rows:
            self._grow()
        row = self._free_rows.pop()
        self.rows[name] = row
        self.names[row] = name
        self.present[row] = True
        self.node_names.set(row, name)
        self.used[row] = self.scored[row] = 0
        for pod in self._on_node.get(name, ()):
            placement = self._placements[pod]
            self.used[row] += self.vector(placement.requests)[0]
            self.scored[row] += scored(placement.requests)
        return row

    def _grow(self) -> None:
        rows = len(self.names)
        self._free_rows = list(range(2 * rows - 1, rows - 1, -1))
        self.names += [""] * rows
        self.present = _doubled(self.present)
        self.unschedulable = _doubled(self.unschedulable)
        self.allocatable, self.used, self.scored = map(_doubled, (self.allocatable, self.used, self.scored))
        self.taints = {taint: _doubled(mask) for taint, mask in self.taints.items()}
        for column in (*self.labels.values(), self.node_names):
            column.numbers = np.concatenate([column.numbers, np.full(rows, -1, np.int32)])

    def _column(self, resource: str) -> int:
        if resource not in self.resources:
            self.resources[resource] = len(self.resources)
            self.allocatable, self.used = (
                np.concatenate([array, np.full((len(array), 1), first, np.int64)], axis=1)
                for array, first in ((self.allocatable, _UNBOUNDED if _is_optional(resource) else 0), (self.used, 0))
            )
            self.layout += 1  # what was evaluated before knows no such column
            for placement in self._placements.values():
                row = self.rows.get(placement.node)
                if row is not None:
                    self.used[row, -1] += dict(placement.requests).get(resource, 0)
        return self.resources[resource]

    def _set_labels(self, row: int, labels: Iterable[tuple[str, str]]) -> None:
        for column in self.labels.values():
            column.numbers[row] = -1
        for key, value in labels:
            if key not in self.labels:
                self.labels[key] = LabelColumn(len(self.names))
            self.labels[key].set(row, value)


def _is_optional(resource: str) -> bool:
    """Whether a node that doesn't say has no bound."""
    return resource == NODE_BYTES or resource.startswith(ATTACHABLE)


def scored(requests: Iterable[tuple[str, int]] | Mapping[str, int]) -> Amounts:
    """cpu and memory as scores count them."""
    wanted = dict(requests)
    return np.array([wanted.get(CPU) or _ASSUMED_CPU, wanted.get(MEMORY) or _ASSUMED_MEMORY], np.int64)


def _doubled(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([array, np.zeros_like(array)])
