"""Label selectors, in both forms: the query string of a list (`app=web,tier in (a,b),!old`) and the object in a spec.

A parsed selector is a plain predicate over labels; field selectors are parsed to exact terms, since each kind supports
its own few fields.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Labels = Mapping[str, str]
Selector = Callable[[Labels], bool]

_TOKEN = re.compile(r"\s*(==|=|!=|[(),!<>]|[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term; `operator` is In, NotIn, Exists, DoesNotExist, Gt or Lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def __call__(self, labels: Labels) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
        return value is not None and _compares(self.operator, value, next(iter(self.values)))


def _compares(operator: str, value: str, bound: str) -> bool:
    try:
        return int(value) > int(bound) if operator == "Gt" else int(value) < int(bound)
    except ValueError:
        return False


def all_of(requirements: "tuple[Requirement, ...]") -> Selector:
    if len(requirements) == 1:
        return requirements[0]
    return lambda labels: all(requirement(labels) for requirement in requirements)


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """The requirements of a labelSelector query parameter; ValueError says what was found where what was expected."""
    return _Parser(text).requirements()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._position = text, 0

    def requirements(self) -> tuple[Requirement, ...]:
        found: list[Requirement] = []
        if self._peek() is None:
            return ()
        while True:
            found.append(self._requirement())
            token = self._next()
            if token is None:
                return tuple(found)
            if token != ",":
                raise self._unexpected(token, "',' or the end")

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._next()
            return Requirement(self._word(), "DoesNotExist")
        key = self._word()
        token = self._peek()
        if token in (None, ","):
            return Requirement(key, "Exists")
        self._next()
        if token in ("=", "=="):
            return Requirement(key, "In", frozenset({self._value()}))
        if token == "!=":
            return Requirement(key, "NotIn", frozenset({self._value()}))
        if token in ("in", "notin"):
            return Requirement(key, "In" if token == "in" else "NotIn", self._set())
        if token in ("<", ">"):
            return Requirement(key, "Lt" if token == "<" else "Gt", frozenset({self._word()}))
        raise self._unexpected(token, "an operator")

    def _set(self) -> frozenset[str]:
        if (token := self._next()) != "(":
            raise self._unexpected(token, "'('")
        values = {self._value()}
        while (token := self._next()) == ",":
            values.add(self._value())
        if token != ")":
            raise self._unexpected(token, "',' or ')'")
        return frozenset(values)

    def _value(self) -> str:
        """A value may be empty: `key=` and `key in (,a)`."""
        return "" if self._peek() in (None, ",", ")") else self._word()

    def _word(self) -> str:
        token = self._next()
        if token is None or not token[0].isalnum():
            raise self._unexpected(token, "a name")
        return token

    def _peek(self) -> str | None:
        position = self._position
        token = self._next()
        self._position = position
        return token

    def _next(self) -> str | None:
        if not self._text[self._position :].strip():
            return None
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            raise self._unexpected(self._text[self._position :].strip()[:1], "a name or an operator")
        self._position = match.end()
        return match[1]

    def _unexpected(self, token: str | None, expected: str) -> ValueError:
        found = "the end" if token is None else repr(token)
        return ValueError(f"unable to parse label selector {self._text!r}: found {found}, expected {expected}")


def from_object(selector: Mapping[str, Any] | None) -> Selector:
    """A metav1.LabelSelector (in JSON form) as a predicate; None selects nothing, {} everything."""
    if selector is None:
        return lambda labels: False
    return all_of(requirements_of(selector))


def requirements_of(selector: Mapping[str, Any]) -> tuple[Requirement, ...]:
    equal = (Requirement(key, "In", frozenset({value})) for key, value in (selector.get("matchLabels") or {}).items())
    terms = (
        Requirement(term["key"], term["operator"], frozenset(term.get("values") or ()))
        for term in selector.get("matchExpressions") or ()
    )
    return (*equal, *terms)


def format_labels(requirements: tuple[Requirement, ...]) -> str:
    """The query-string form, in a stable order."""
    return ",".join(sorted(_format(requirement) for requirement in requirements))


def _format(requirement: Requirement) -> str:
    values = sorted(requirement.values)
    match requirement.operator:
        case "In" if len(values) == 1:
            return f"{requirement.key}={values[0]}"
        case "In":
            return f"{requirement.key} in ({','.join(values)})"
        case "NotIn" if len(values) == 1:
            return f"{requirement.key}!={values[0]}"
        case "NotIn":
            return f"{requirement.key} notin ({','.join(values)})"
        case "Exists":
            return requirement.key
        case "DoesNotExist":
            return f"!{requirement.key}"
    return f"{requirement.key}{'>' if requirement.operator == 'Gt' else '<'}{values[0]}"


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One term of a field selector: `path` equals (or, negated, doesn't equal) `value`."""

    path: str
    value: str
    negated: bool = False

    def __call__(self, fields: Labels) -> bool:
        return (fields.get(self.path, "") == self.value) is not self.negated


def parse_fields(text: str) -> tuple[FieldTerm, ...]:
    """The terms of a fieldSelector query parameter (`spec.nodeName=n1,status.phase!=Failed`); ValueError otherwise."""
    terms = []
    for part in filter(None, re.split(r"(?<!\\),", text)):
        match = re.match(r"([^=!]+)(!=|==|=)(.*)\Z", part, re.DOTALL)
        if match is None:
            raise ValueError(f"invalid field selector {text!r}: {part!r} is not of the form path=value or path!=value")
        terms.append(FieldTerm(match[1].strip(), re.sub(r"\\([\\,=])", r"\1", match[3]), match[2] == "!="))
    return tuple(terms)
