"""OpenAPI v3 (an index and one document per group and version) and v2 (one document), for kubectl and client tools.

specs.py      the documents of one set of resources, each made when first asked for
schemas.py    types: the facts, with descriptions in our own words
paths.py      what can be asked of a resource
gnostic.py    v2 in protobuf, as kubectl and client-go ask for it
"""

from hypernetes.apiserver.openapi.specs import V2_PROTOBUF, V2_PROTOBUF_TYPE, OpenAPI, of

__all__ = ["V2_PROTOBUF", "V2_PROTOBUF_TYPE", "OpenAPI", "of"]
