"""What a request asks to do, and what the answer is."""

from dataclasses import dataclass
from typing import NamedTuple


class Attributes(NamedTuple):  # one is made for each request, in a third of the time that a frozen dataclass takes
    """One request. `resource` is "" for paths that are no resource (discovery, health, …), where `path` counts.

    `tenant` is the one in the path ("*": all), or else the user's own. `path` has no tenant prefix. `name` is "" where
    the path has none (list, create, …). `field_selector` is that of a list, watch or deletecollection, as it came.
    """

    tenant: str
    verb: str  # get, list, watch, create, update, patch, delete, deletecollection
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: str = ""  # for people; never says what another tenant has
    absent: bool = False  # refused because there is no such object: said so, to one of our own processes


ALLOWED = Decision(True)
