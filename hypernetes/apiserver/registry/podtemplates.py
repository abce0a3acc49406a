"""PodTemplates: a template by itself."""

from typing import Any

from hypernetes.apiserver.registry import templates
from hypernetes.apiserver.registry.podrules import warnings
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes


def validate(obj: dict[str, Any]) -> Causes:
    return templates.validate(obj["template"], "template")


def warn(new: dict[str, Any], old: dict[str, Any] | None) -> list[str]:
    return warnings.of_template(new["template"], None if old is None else old["template"], "template")


STRATEGY = Strategy(complete=True, generation=True, validate=validate, warnings=warn)
