"""Which pods' failures end, spare or ignore a job, and when part of its indexes is success enough.

KEP-3329 (podFailurePolicy), KEP-3850 (backoffLimitPerIndex), KEP-3998 (successPolicy).
"""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_EXIT_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")
_REPLACEMENTS = ("Failed", "TerminatingOrFailed")
_MAX_RULES, _MAX_PATTERNS, _MAX_EXIT_CODES = 20, 20, 255
_MAX_INDEXES_BYTES = 64 * 1024


def validate(spec: Object, path: str) -> Causes:
    causes: Causes = []
    failures, success = spec.get("podFailurePolicy"), spec.get("successPolicy")
    if failures is not None:
        causes += _failures(failures, spec, f"{path}.podFailurePolicy.rules")
    if success is not None:
        if spec.get("completionMode") != "Indexed":
            causes += validation.invalid(f"{path}.successPolicy", success, "requires indexed completion mode")
        else:
            causes += _success(success, spec.get("completions") or 0, f"{path}.successPolicy.rules")
    replacement = spec.get("podReplacementPolicy")
    if replacement is not None:
        choices = _REPLACEMENTS if failures is None else ("Failed",)
        if replacement not in choices:
            causes += validation.not_supported(f"{path}.podReplacementPolicy", replacement, choices)
    return causes


def _failures(policy: Object, spec: Object, path: str) -> Causes:
    rules = policy.get("rules") or ()
    causes = validation.too_many(path, len(rules), _MAX_RULES) if len(rules) > _MAX_RULES else []
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = {each.get("name") for part in ("containers", "initContainers") for each in pod.get(part) or ()}
    per_index = spec.get("backoffLimitPerIndex") is not None
    for index, rule in enumerate(rules):
        at = f"{path}[{index}]"
        action, codes, conditions = (rule.get(name) for name in ("action", "onExitCodes", "onPodConditions"))
        causes += validation.one_of(action, _ACTIONS, f"{at}.action")
        if action == "FailIndex" and not per_index:
            causes += validation.invalid(f"{at}.action", action, "requires the backoffLimitPerIndex to be set")
        if codes is not None and conditions:
            why = "specifying both OnExitCodes and OnPodConditions is not supported"
            causes += validation.invalid(at, "", why)
        elif codes is None and not conditions:
            causes += validation.invalid(at, "", "specifying one of OnExitCodes and OnPodConditions is required")
        if codes is not None:
            causes += _exit_codes(codes, containers, f"{at}.onExitCodes")
        causes += _conditions(conditions or (), f"{at}.onPodConditions")
    return causes


def _exit_codes(codes: Object, containers: set[Any], path: str) -> Causes:
    operator, values = codes.get("operator"), codes.get("values") or ()
    causes = validation.one_of(operator, _EXIT_OPERATORS, f"{path}.operator")
    name = codes.get("containerName")
    if name is not None and name not in containers:
        why = "must be one of the container or initContainer names in the pod template"
        causes += validation.invalid(f"{path}.containerName", name, why)
    if not values:
        causes += validation.invalid(f"{path}.values", values, "at least one value is required")
    elif len(values) > _MAX_EXIT_CODES:
        causes += validation.too_many(f"{path}.values", len(values), _MAX_EXIT_CODES)
    seen: set[int] = set()
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            causes += validation.invalid(f"{path}.values[{index}]", value, "must not be 0 for the In operator")
        if value in seen:
            causes += validation.duplicate(f"{path}.values[{index}]", value)
        seen.add(value)
    if list(values) != sorted(values):
        causes += validation.invalid(f"{path}.values", values, "must be ordered")
    return causes


def _conditions(patterns: Any, path: str) -> Causes:
    causes = validation.too_many(path, len(patterns), _MAX_PATTERNS) if len(patterns) > _MAX_PATTERNS else []
    for index, pattern in enumerate(patterns):
        causes += validation.qualified_name(pattern.get("type") or "", f"{path}[{index}].type")
        causes += validation.one_of(pattern.get("status"), _STATUSES, f"{path}[{index}].status")
    return causes


def _success(policy: Object, completions: int, path: str) -> Causes:
    rules = policy.get("rules") or ()
    if not rules:
        return validation.required(path, "at least one rule must be specified when the successPolicy is specified")
    causes = validation.too_many(path, len(rules), _MAX_RULES) if len(rules) > _MAX_RULES else []
    for index, rule in enumerate(rules):
        causes += _success_rule(rule, completions, f"{path}[{index}]")
    return causes


def _success_rule(rule: Object, completions: int, path: str) -> Causes:
    indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    if indexes is None and count is None:
        why = "at least one of succeededCount or succeededIndexes must be specified"
        return validation.required(path, why)
    causes: Causes = []
    total = completions
    if indexes is not None:
        if len(indexes) > _MAX_INDEXES_BYTES:
            return validation.too_long(f"{path}.succeededIndexes", _MAX_INDEXES_BYTES)
        try:
            total = count_indexes(indexes, completions)
        except ValueError as error:
            causes += validation.invalid(f"{path}.succeededIndexes", indexes, str(error))
    if count is not None:
        causes += validation.non_negative(count, f"{path}.succeededCount")
        if count > completions:
            why = f"must be less than or equal to {completions} (the number of specified completions)"
            causes += validation.invalid(f"{path}.succeededCount", count, why)
        elif count > total and indexes is not None:
            why = f"must be less than or equal to {total} (the number of indexes in succeededIndexes)"
            causes += validation.invalid(f"{path}.succeededCount", count, why)
    return causes


def count_indexes(text: str, completions: int) -> int:
    """How many indexes `1,3-5,7` names; ValueError where it isn't ascending, or reaches beyond the completions."""
    total, last = 0, -1
    for part in text.split(",") if text else ():
        start, dash, end = part.partition("-")
        if not start.isascii() or not start.isdecimal() or (dash and not (end.isascii() and end.isdecimal())):
            raise ValueError(f"cannot convert string to integer for index: {part[:40]!r}")
        if max(len(start), len(end)) > 10:
            raise ValueError(f"too large index: {part[:40]!r}")
        first, to = int(start), int(end or start)
        if first > to or (dash and first == to):
            raise ValueError(f"non-increasing order, previous: {first}, current: {to}")
        if first <= last:
            raise ValueError(f"non-increasing order, previous: {last}, current: {first}")
        if to >= completions:
            raise ValueError(f"too large index: {part!r}")
        total, last = total + to - first + 1, to
    return total
