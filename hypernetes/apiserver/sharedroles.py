"""Keeps the default roles and bindings in the tenant `system`, from where every tenant has them.

At each start: what is missing is made; what an earlier version made, or the provider's administrator changed, gets back
the rules and subjects that it lacks, unless its annotation says that it isn't to be updated (as upstream).
"""

import asyncio
import copy
from collections.abc import Callable
from datetime import datetime
from typing import Any

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.authz import defaultroles
from hypernetes.apiserver.authz.policyrules import rules_from, uncovered
from hypernetes.apiserver.contents import completed
from hypernetes.apiserver.objects import Objects, Place, Put, missing

Object = dict[str, Any]


async def keep(objects: Objects, clock: Callable[[], datetime]) -> None:
    """Raises StatusError."""
    async with asyncio.TaskGroup() as tasks:  # side by side: they share the store's disk writes
        for resource_name, wanted in defaultroles.objects():
            tasks.create_task(_keep(objects, resource_name, wanted, clock()))


async def _keep(objects: Objects, resource_name: str, wanted: Object, now: datetime) -> None:
    resource = scheme.by_name(defaultroles.API_VERSION, resource_name)
    place = Place(resource, SYSTEM_TENANT, "", wanted["metadata"]["name"])

    def repaired(old: Object | None) -> Put:
        if old is None:
            raise missing(place)
        return Put(with_what_is_missing(old, wanted))

    try:
        await objects.change(place, repaired)
    except StatusError as error:
        if error.reason != "NotFound":
            raise
        await objects.create(place, completed(defaultroles.API_VERSION, resource, wanted, now))


def with_what_is_missing(old: Object, wanted: Object) -> Object:
    """The object with the rules and subjects of the default one that it lacks."""
    annotations = old["metadata"].get("annotations") or {}
    if annotations.get(defaultroles.AUTOUPDATE_ANNOTATION) != "true":
        return old
    new = copy.deepcopy(old)
    lacking = uncovered(rules_from(old.get("rules")), rules_from(wanted.get("rules")))
    if lacking:
        new["rules"] = [*(old.get("rules") or ()), *(rule.to_dict() for rule in lacking)]
    subjects = old.get("subjects") or []
    added = [subject for subject in wanted.get("subjects") or () if subject not in subjects]
    if added:
        new["subjects"] = [*subjects, *added]
    return new
