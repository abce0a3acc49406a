"""Lists of resources (`{"cpu": "500m", "memory": "1Gi"}`): sums and differences, written as upstream does (pure).

A sum has the form, binary or decimal, of the first of its terms that isn't zero.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from hypernetes.api import quantity
from hypernetes.apiserver.schema.scalars import canonical_quantity

Amounts = dict[str, str]
ZERO = "0"


def value(text: str) -> Decimal:
    return quantity.parse(text)


def add(left: Mapping[str, str], right: Mapping[str, str]) -> Amounts:
    return {**left, **{name: plus(left.get(name, ZERO), amount) for name, amount in right.items()}}


def subtract(left: Mapping[str, str], right: Mapping[str, str]) -> Amounts:
    """What is in `left` only stays, what is in `right` only becomes negative."""
    return {**left, **{name: plus(left.get(name, ZERO), negative(amount)) for name, amount in right.items()}}


def total(parts: Iterable[Mapping[str, str]]) -> Amounts:
    result: Amounts = {}
    for part in parts:
        result = add(result, part)
    return result


def plus(left: str, right: str) -> str:
    first, second = value(left), value(right)
    if not first:
        return right
    if not second:
        return left
    return _written(first + second, binary=left.endswith("i"))


def negative(text: str) -> str:
    if not value(text):
        return ZERO
    return text[1:] if text.startswith("-") else f"-{text.removeprefix('+')}"


def without_zeros(given: Mapping[str, str]) -> Amounts:
    return {name: amount for name, amount in given.items() if value(amount)}


def shown(given: Mapping[str, str]) -> str:
    """For messages: `cpu=1,memory=1Gi`."""
    return ",".join(f"{name}={given[name]}" for name in sorted(given))


def _written(amount: Decimal, *, binary: bool) -> str:
    if binary and amount == amount.to_integral_value():
        return canonical_quantity(f"{amount / 1024:f}Ki")
    return canonical_quantity(f"{amount:f}")
