"""Decisions per second of the scheduler's pure part, in a cluster of 5,000 nodes: no API, no I/O.

python -m benchmarks.scheduler [--json FILE] [--nodes N]
"""

import random
import time
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.report import Figure, report
from hypernetes.api import selectors
from hypernetes.scheduler.cycle import Cycle
from hypernetes.scheduler.demands import CPU, MEMORY, PODS, Demands, Requirement
from hypernetes.scheduler.queue import SchedulingQueue
from hypernetes.scheduler.relations import Kind, PodTerm, Relations, Spread
from hypernetes.scheduler.snapshot import Cluster, NodeFacts, NodeTaint, Placement

_PODS = 10_000
_TENANTS = 100


def build(nodes: int) -> Cluster:
    cluster = Cluster()
    for n in range(nodes):
        taints = (NodeTaint("gpu", "true", "NoSchedule"),) if n % 10 == 0 else ()
        labels = (("kubernetes.io/hostname", f"n{n}"), ("zone", f"z{n % 3}"))
        allocatable = ((CPU, 32_000), (MEMORY, 128 * 2**30), (PODS, 110))
        cluster.set_node(f"n{n}", NodeFacts(allocatable, labels, taints, False))
    return cluster


def one_template(_: int) -> Demands:
    return Demands(((CPU, 100), (MEMORY, 2**27), (PODS, 1)))


def many_templates(n: int) -> Demands:
    """As many as there are tenants, each for one zone."""
    selector = (Requirement("zone", "In", (f"z{n % 3}",)),)
    return Demands(((CPU, 100 + n % _TENANTS), (MEMORY, 2**27), (PODS, 1)), selector)


def all_different(n: int) -> Demands:
    return Demands(((CPU, 100), (MEMORY, 2**27 + n), (PODS, 1)))


def by_itself(_: int) -> Relations:
    return Relations(Kind("web", (("app", "web"),)))


def spread_over_zones(_: int) -> Relations:
    """Of each tenant as many pods in one zone as in the others."""
    app = (selectors.Requirement("app", "In", frozenset({"web"})),)
    return Relations(Kind("web", (("app", "web"),)), spreads=(Spread("zone", 1, app, required=True),))


def apart(_: int) -> Relations:
    """Of each tenant no two pods on one node."""
    app = (selectors.Requirement("app", "In", frozenset({"web"})),)
    term = PodTerm("kubernetes.io/hostname", app, frozenset({"web"}))
    return Relations(Kind("web", (("app", "web"),)), apart=(term,))


def decisions(
    nodes: int, count: int, demands: Callable[[int], Demands], relations: Callable[[int], Relations] = by_itself
) -> float:
    """Pods per second through queue, cycle and placement."""
    cluster = build(nodes)
    cycle, queue = Cycle(cluster), SchedulingQueue[int](cluster.dominant_share)
    order = random.Random(1)
    started = time.perf_counter()
    for n in range(count):
        queue.add(n, tenant=f"t{n % _TENANTS}", priority=order.randrange(3))
    while (pod := queue.pop(0.0)) is not None:
        tenant, related = f"t{pod % _TENANTS}", relations(pod)
        verdict = cycle.decide(demands(pod), tenant, related)
        assert verdict.node is not None
        cluster.place(pod, Placement(verdict.node, tenant, demands(pod).requests, 0, related))
        queue.remove(pod)
    return count / (time.perf_counter() - started)


@click.command()
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--nodes", type=click.IntRange(1, 100_000), default=5000, show_default=True)
def main(path: Path | None, nodes: int) -> None:
    figures = [
        Figure(f"{nodes} nodes, pods of one template", decisions(nodes, _PODS, one_template), "pods/s", 5000),
        Figure(f"{nodes} nodes, {_TENANTS} templates", decisions(nodes, _PODS, many_templates), "pods/s", 1000),
        Figure(f"{nodes} nodes, no two pods alike", decisions(nodes, 1000, all_different), "pods/s"),
        Figure(f"{nodes} nodes, spread over zones", decisions(nodes, _PODS, one_template, spread_over_zones), "pods/s"),
        Figure(f"{nodes} nodes, one per node and tenant", decisions(nodes, _PODS, one_template, apart), "pods/s"),
    ]
    report(figures, path)


if __name__ == "__main__":
    main()
