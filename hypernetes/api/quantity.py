"""Resource quantities (`250m`, `1.5Gi`, `2e3`): parsed exactly, compared as numbers.

Form: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import math
import re
from decimal import Decimal
from functools import lru_cache

MAX_CHARACTERS = 256
_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?\d{1,3}))?\Z", re.ASCII)
_SCALE = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal("1e3"), "M": Decimal("1e6"),
    "G": Decimal("1e9"), "T": Decimal("1e12"), "P": Decimal("1e15"), "E": Decimal("1e18"),
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}  # fmt: skip


def parse(text: str | int | float) -> Decimal:
    """The value in its base unit (cores, bytes, pieces); ValueError where it is no quantity."""
    if len(str(text)) > MAX_CHARACTERS:
        raise ValueError(f"a quantity has at most {MAX_CHARACTERS} characters")
    return _parse(text)


@lru_cache(maxsize=4096)
def _parse(text: str | int | float) -> Decimal:
    match = _FORM.match(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a quantity such as 250m, 1.5 or 128Mi")
    number, suffix, exponent = match.groups()
    value = Decimal(number)
    if suffix:
        return value * _SCALE[suffix]
    return value.scaleb(int(exponent)) if exponent else value


def milli(text: str | int | float) -> int:
    """In thousandths (millicores), rounded up as Kubernetes does."""
    return math.ceil(parse(text) * 1000)


def whole(text: str | int | float) -> int:
    """In whole units (bytes, pieces), rounded up."""
    return math.ceil(parse(text))


_DECIMAL_SUFFIXES = ("", "k", "M", "G", "T", "P", "E")


def of_milli(thousandths: int) -> str:
    """Of a number of thousandths, in the decimal form that upstream writes: 1500 is `1500m`, 2_000_000 is `2k`."""
    if thousandths % 1000:
        return f"{thousandths}m"
    number, power = thousandths // 1000, 0
    while number and number % 1000 == 0 and power < len(_DECIMAL_SUFFIXES) - 1:
        number, power = number // 1000, power + 1
    return f"{number}{_DECIMAL_SUFFIXES[power]}"
