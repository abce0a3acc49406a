"""PodTemplates: a template by itself."""

from typing import Any

from hypernetes.apiserver.registry import templates
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes


def validate(obj: dict[str, Any]) -> Causes:
    return templates.validate(obj["template"], "template")


STRATEGY = Strategy(generation=True, validate=validate)
