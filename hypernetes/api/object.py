"""The base classes of all models: how a Kubernetes object is read from and written to JSON.

Scalars and references default to None, lists and maps to empty ones; what is default isn't written. So a model says
what its author said, and no more. Fields are snake_case in Python and named as upstream's on the wire.
"""

from typing import Annotated, Any, ClassVar, Self, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict

from hypernetes.api import tenancy

Quantity = Annotated[str, BeforeValidator(str)]
IntOrString = int | str

_Item = TypeVar("_Item")
# A list that is written as null where it is empty (an EndpointSlice's endpoints).
NullableList = Annotated[list[_Item], BeforeValidator(lambda value: [] if value is None else value)]


class Model(BaseModel):
    """Any part of an object."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore")

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True, exclude_defaults=True)

    @classmethod
    def from_dict(cls, value: Any) -> Self:
        return cls.model_validate(value)


class Object(Model):
    """What has an apiVersion and a kind."""

    API_VERSION: ClassVar[str]
    KIND: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        return {"apiVersion": self.API_VERSION, "kind": self.KIND, **super().to_dict()}

    def to_json(self) -> bytes:
        return orjson.dumps(self.to_dict())

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        return cls.model_validate_json(data)


def tenant_of(obj: Any) -> str:
    """The tenant of an object that was read on a /tenants/*/ path; KeyError for one that wasn't."""
    tenant: str = obj.metadata.annotations[tenancy.TENANT_ANNOTATION]
    return tenant
