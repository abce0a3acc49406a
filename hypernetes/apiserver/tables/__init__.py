"""Server-side tables (`kubectl get`) and metadata-only answers.

    objects ──► a kind's cells (pods, workloads, services, nodes, …) ──► Table
    objects ──► PartialObjectMetadata(List)

Pure: the time that ages are counted to is passed in. Columns come from facts/columns.json.
"""

from hypernetes.apiserver.tables.rendering import (
    INCLUDE_METADATA,
    INCLUDE_NONE,
    INCLUDE_OBJECT,
    partial_metadata,
    partial_metadata_list,
    table,
)

__all__ = [
    "INCLUDE_METADATA",
    "INCLUDE_NONE",
    "INCLUDE_OBJECT",
    "partial_metadata",
    "partial_metadata_list",
    "table",
]
