"""What a pod as a whole asks for and may use, from its containers' resources (pure).

Rule: https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hypernetes.apiserver import amounts
from hypernetes.apiserver.amounts import Amounts

Object = Mapping[str, Any]


def requests(spec: Object) -> Amounts:
    """With the pod's overhead."""
    total = _whole(spec, "requests")
    return amounts.add(total, spec.get("overhead") or {})


def limits(spec: Object) -> Amounts:
    """With the pod's overhead where there is a limit at all."""
    total = _whole(spec, "limits")
    overhead = {name: value for name, value in (spec.get("overhead") or {}).items() if name in total}
    return amounts.add(total, overhead)


def containers(spec: Object) -> Iterable[Object]:
    """Init containers first, as they run; without ephemeral ones, which have no resources."""
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def _whole(spec: Object, what: str) -> Amounts:
    """Containers and sidecars run together; each init container runs beside the sidecars that began before it.

    What the pod as a whole states counts instead of the sum.
    """
    running = amounts.total(_of(container, what) for container in spec.get("containers") or ())
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            sidecars = amounts.add(sidecars, _of(container, what))
            peak = _larger(peak, sidecars)
        else:
            peak = _larger(peak, amounts.add(sidecars, _of(container, what)))
    whole = _larger(amounts.add(running, sidecars), peak)
    return {**whole, **_of(spec, what)}


def _larger(left: Amounts, right: Amounts) -> Amounts:
    return _merged(left, right, lambda one, other: one if amounts.value(one) >= amounts.value(other) else other)


def _merged(left: Amounts, right: Amounts, choose: Callable[[str, str], str]) -> Amounts:
    return {**left, **{name: choose(left[name], value) if name in left else value for name, value in right.items()}}


def _of(holder: Object, what: str) -> Amounts:
    return dict((holder.get("resources") or {}).get(what) or {})
