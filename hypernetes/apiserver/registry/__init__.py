"""What is particular to a kind: one module per kind that has behaviour, named as the kind's resource.

strategy.py   what a kind may say about itself
metadata.py   what holds for all kinds
fields.py     what field selectors may name
"""

from hypernetes.api.scheme import Resource
from hypernetes.apiserver.registry import kinds
from hypernetes.apiserver.registry.strategy import Strategy

__all__ = ["Strategy", "of"]

_PLAIN = Strategy()


def of(resource: Resource, subresource: str = "") -> Strategy:
    """The strategy of a resource, or of the one its objects are stored as; a plain one where it has no behaviour.

    A subresource may have rules of its own; most have their resource's.
    """
    own = kinds.STRATEGIES.get((resource.group, f"{resource.name}/{subresource}")) if subresource else None
    own = own or kinds.STRATEGIES.get((resource.group, resource.name))
    return own or kinds.STRATEGIES.get((resource.stored.group, resource.stored.name), _PLAIN)
