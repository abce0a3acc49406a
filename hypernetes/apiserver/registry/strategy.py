"""What a kind may say about itself; everything it doesn't say is as for a ConfigMap."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]


def nothing(*objects: Object) -> None:
    """For hooks that have nothing to do."""


def nobody(obj: Object, user: Mapping[str, Any]) -> None:
    """For kinds to which it doesn't matter who makes them."""


def silent(new: Object, old: Object | None) -> list[str]:
    """For what is nothing to warn of."""
    return []


def fine(*objects: Object) -> Causes:
    """For checks that find nothing."""
    return []


@dataclass(frozen=True, slots=True)
class Strategy:
    """The behaviour of one kind. Objects are complete: decoded, pruned, with the schema's defaults.

    The `prepare_*` hooks change the new object in place; updates get (new, old).
    """

    name_rule: Callable[[str, str], Causes] = validation.dns_subdomain
    unnamed: Callable[[], str] | None = None  # what an object is called whose client doesn't care
    has_status: bool = False  # a status that only the status subresource writes
    status_on_create: bool = False  # a new object may bring its status
    generation: bool = False  # metadata.generation counts the changes of what isn't status or metadata
    counts_metadata: tuple[str, ...] = ()  # of metadata, what generation counts changes of, too
    create_on_update: bool = False  # a PUT may create
    complete: bool = False  # its checks are all there are; else the schema asks for its required fields as well
    returns_deleted: bool = False  # DELETE answers with the object, not with a Status
    default_propagation: str = "Background"
    delete_warning: str = ""  # for whoever deletes without saying what becomes of the dependents
    owns: bool = True  # may have dependents for the garbage collector to look after
    prepare_create: Callable[[Object], None] = nothing
    asked_by: Callable[[Object, Mapping[str, Any]], None] = nobody  # who makes the object, as a UserInfo
    prepare_update: Callable[[Object, Object], None] = nothing
    prepare_status: Callable[[Object, Object], None] = nothing
    validate_create: Callable[[Object], Causes] = fine  # what holds for new objects only
    validate: Callable[[Object], Causes] = fine
    validate_update: Callable[[Object, Object], Causes] = fine
    validate_status: Callable[[Object, Object], Causes] = fine
    warnings: Callable[[Object, Object | None], list[str]] = silent  # of what is allowed; old is None on create
    grace_seconds: Callable[[Object, int | None], int] | None = None  # from what was asked; None: deleted at once
    held: Callable[[Object], bool] = lambda obj: False  # whether deletion waits for something else than finalizers
    before_delete: Callable[[Object], None] = nothing  # as an object begins to be deleted but stays
