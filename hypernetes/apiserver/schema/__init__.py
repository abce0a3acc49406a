"""The schema engine: one form (OpenAPI with the Kubernetes extensions) for whatever is written through the API.

    bytes ── bodies ──► dict ── types ──► checked, pruned ── defaults ──► complete ── types ──► causes of an Invalid

`for_kind` gives the compiled schema of a kind. What a schema can't say (names, ports, selectors that must match) is in
the strategies of `registry/`.
"""

from hypernetes.apiserver.schema.kinds import KindSchema, for_kind
from hypernetes.apiserver.schema.types import Type

__all__ = ["KindSchema", "Type", "for_kind"]
