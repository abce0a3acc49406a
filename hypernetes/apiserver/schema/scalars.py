"""Reads scalar values as upstream's decoder does: strict about the type, and writing each in its canonical form."""

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_UP, Context, Decimal, localcontext
from functools import lru_cache
from typing import Any

from hypernetes.api import quantity

Path = tuple[Any, ...]  # (the path of the parent, key or index); () is the root
Decode = Callable[[Any, Path, "Problems"], Any]

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z")
_MICROSECONDS = re.compile(r"\.\d{6}(Z|[+-]\d\d:\d\d)\Z")
_INT32 = (-(2**31), 2**31 - 1)
_INT64 = (-(2**63), 2**63 - 1)
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = {-9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
_NANO, _LARGEST = Decimal("1e-9"), Decimal(2**63 - 1)
_EXACT = Context(prec=512, rounding=ROUND_UP)  # digits: no quantity of quantity.MAX_CHARACTERS has more
_SCIENTIFIC = re.compile(r"[+-]?\d{1,18}[eE][+-]?\d+\Z", re.ASCII)
_JSON_TYPES: dict[type, str] = {
    str: "string", int: "number", float: "number", bool: "bool", list: "array", dict: "object", type(None): "null",
}  # fmt: skip


class Problems:
    """What a decoder finds and goes on from: fields that the schema doesn't have."""

    __slots__ = ("unknown",)

    def __init__(self) -> None:
        self.unknown: list[Path] = []


class WrongType(ValueError):
    """A value that can't be read as its field's type."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{text(path) or 'the body'}: {why}")


def text(path: Path) -> str:
    """`spec.containers[0].image` of a linked path."""
    parts: list[Any] = []
    while path:
        path, key = path
        parts.append(key)
    joined = ""
    for key in reversed(parts):
        joined += f"[{key}]" if isinstance(key, int) else f".{key}" if joined else str(key)
    return joined


def wrong(value: Any, path: Path, wanted: str) -> WrongType:
    return WrongType(path, f"cannot unmarshal {_JSON_TYPES.get(type(value), 'value')} into a field of type {wanted}")


def string(value: Any, path: Path, _: Problems) -> Any:
    if type(value) is str:
        return value
    raise wrong(value, path, "string")


def boolean(value: Any, path: Path, _: Problems) -> Any:
    if type(value) is bool:
        return value
    raise wrong(value, path, "bool")


def integer(bits: int) -> Decode:
    low, high = _INT32 if bits == 32 else _INT64

    def decode(value: Any, path: Path, _: Problems) -> Any:
        if type(value) is int:
            if low <= value <= high:
                return value
            raise WrongType(path, f"number {value} doesn't fit into int{bits}")
        raise wrong(value, path, f"int{bits}")

    return decode


def number(value: Any, path: Path, _: Problems) -> Any:
    if type(value) in (int, float):
        return value
    raise wrong(value, path, "number")


def int_or_string(value: Any, path: Path, problems: Problems) -> Any:
    if type(value) is str:
        return value
    if type(value) is int:
        return _int32(value, path, problems)
    raise wrong(value, path, "int32 or string")


_int32 = integer(32)


def base64_bytes(value: Any, path: Path, _: Problems) -> Any:
    if type(value) is not str:
        raise wrong(value, path, "base64 string")
    try:
        base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise WrongType(path, f"illegal base64 data: {error}") from error
    return value


def timestamp(value: Any, path: Path, _: Problems) -> Any:
    moment = _moment(value, path)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(value: Any, path: Path, _: Problems) -> Any:
    if type(value) is str and not _MICROSECONDS.search(value):
        raise WrongType(path, f"{value!r} is not a time such as 2006-01-02T15:04:05.000000Z")
    moment = _moment(value, path)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(value: Any, path: Path) -> datetime | None:
    if type(value) is not str:
        raise wrong(value, path, "RFC 3339 time")
    if not _RFC3339.match(value):
        raise WrongType(path, f"{value!r} is not a time such as 2006-01-02T15:04:05Z (RFC 3339)")
    try:
        # Python reads at most six digits of a second's fraction.
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise WrongType(path, f"{value!r} is no time: {error}") from error


def quantity_text(value: Any, path: Path, _: Problems) -> Any:
    if type(value) not in (str, int, float):
        raise wrong(value, path, "quantity")
    try:
        return canonical_quantity(str(value).strip() if type(value) is not str else value)
    except ValueError as error:
        raise WrongType(path, str(error)) from error


def canonical_quantity(value: str) -> str:
    """The one way in which upstream writes an amount: `0.5` is `500m`, `1024Mi` is `1Gi`, `1000` is `1k`.

    As there, what is too small to write is rounded away from zero to a billionth, and what is too large is cut to
    2^63-1. ValueError where it is no quantity.
    """
    if len(value) > quantity.MAX_CHARACTERS:
        raise ValueError(f"a quantity has at most {quantity.MAX_CHARACTERS} characters")
    return _canonical(value)


@lru_cache(maxsize=4096)
def _canonical(value: str) -> str:
    with localcontext(_EXACT):
        amount = quantity.parse(value)
        if abs(amount) > _LARGEST and _SCIENTIFIC.match(value):
            return _scientific(amount)
        amount = max(-_LARGEST, min(_LARGEST, amount)).quantize(_NANO)
        if value.endswith("i"):
            return _binary(amount)
        return _decimal(amount, exponential=re.search(r"[eE][+-]?\d+\Z", value) is not None)


def _scientific(amount: Decimal) -> str:
    """Mantissa and exponent, which upstream keeps apart and so cuts nothing off: `10e399` of `1e400`."""
    sign, digits, exponent = amount.normalize().as_tuple()
    power = int(exponent) - int(exponent) % 3
    mantissa = int("".join(map(str, digits))) * 10 ** (int(exponent) - power)
    return f"{'-' if sign else ''}{mantissa}e{power}"


def _decimal(amount: Decimal, *, exponential: bool = False) -> str:
    if amount == 0:
        return "0"
    power = -9
    while power < 18 and amount % (Decimal(10) ** (power + 3)) == 0:
        power += 3
    mantissa = int(amount.scaleb(-power))
    return f"{mantissa}e{power}" if exponential and power else f"{mantissa}{_DECIMAL[power]}"


def _binary(amount: Decimal) -> str:
    if amount != amount.to_integral_value():
        if -1024 < amount < 1024:
            return _decimal(amount)
        amount = amount.to_integral_value()
    whole, power = int(amount), 0
    if -1024 < whole < 1024:
        return str(whole)
    while power < 6 and whole % 1024 == 0:
        whole, power = whole // 1024, power + 1
    return f"{whole}{_BINARY[power]}" if power else _decimal(amount)  # which it is when it is read again
