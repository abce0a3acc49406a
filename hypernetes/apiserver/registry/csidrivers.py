"""CSIDrivers and CSINodes: what a driver needs and can, and which drivers a node has."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import csinames
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_MODES = ("Ephemeral", "Persistent")
_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_MIN_TOKEN_SECONDS, _MAX_TOKEN_SECONDS = 600, 2**32
_MIN_PERIOD_SECONDS = 10
_MAX_NODE_ID_BYTES = 192


def validate_driver(driver: Object) -> Causes:
    spec = driver.get("spec") or {}
    causes: Causes = []
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in _MODES:
            causes += validation.not_supported("spec.volumeLifecycleModes", mode, _MODES)
    policy = spec.get("fsGroupPolicy")
    if policy not in _GROUP_POLICIES:
        causes += validation.not_supported("spec.fsGroupPolicy", policy or "", _GROUP_POLICIES)
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < _MIN_PERIOD_SECONDS:
        why = f"must be greater than or equal to {_MIN_PERIOD_SECONDS} seconds"
        causes += validation.invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, why)
    return causes + _token_requests(spec.get("tokenRequests") or ())


def _token_requests(requests: Any) -> Causes:
    causes: Causes = []
    audiences: set[str] = set()
    for index, request in enumerate(requests):
        path, audience = f"spec.tokenRequests[{index}]", request.get("audience") or ""
        if audience in audiences:
            causes += validation.duplicate(f"{path}.audience", audience)
        audiences.add(audience)
        seconds = request.get("expirationSeconds")
        if seconds is not None and not _MIN_TOKEN_SECONDS <= seconds <= _MAX_TOKEN_SECONDS:
            why = f"must be between {_MIN_TOKEN_SECONDS} and {_MAX_TOKEN_SECONDS} seconds"
            causes += validation.invalid(f"{path}.expirationSeconds", seconds, why)
    return causes


def validate_driver_update(new: Object, old: Object) -> Causes:
    return validation.immutable(new, old, "spec.attachRequired", "spec.volumeLifecycleModes")


def driver_warnings(driver: Object, old: Object | None) -> list[str]:
    if (driver.get("spec") or {}).get("tokenRequests"):
        return ["spec.tokenRequests: tokens reach the driver as a part of the volume's context, which may be logged"]
    return []


def validate_node(node: Object) -> Causes:
    causes: Causes = []
    names: set[str] = set()
    for index, driver in enumerate((node.get("spec") or {}).get("drivers") or ()):
        path, name = f"spec.drivers[{index}]", driver.get("name") or ""
        causes += csinames.driver(name, f"{path}.name")
        if name in names:
            causes += validation.duplicate(f"{path}.name", name)
        names.add(name)
        causes += _node_driver(driver, path)
    return causes


def _node_driver(driver: Object, path: str) -> Causes:
    identity = driver.get("nodeID") or ""
    causes = validation.required(f"{path}.nodeID") if not identity else []
    if len(identity.encode()) > _MAX_NODE_ID_BYTES:
        causes += validation.invalid(f"{path}.nodeID", identity, f"must be {_MAX_NODE_ID_BYTES} bytes or less")
    count = (driver.get("allocatable") or {}).get("count")
    causes += validation.non_negative(count, f"{path}.allocatable.count")
    keys = driver.get("topologyKeys") or []
    for index, key in enumerate(keys):
        if not key:
            causes += validation.required(path)
        elif key in keys[:index]:
            causes += validation.duplicate(path, key)
        else:
            causes += validation.qualified_name(key, path)
    return causes


def validate_node_update(new: Object, old: Object) -> Causes:
    """Drivers come and go, but don't change; how many volumes they may attach does."""
    before = {driver.get("name"): _fixed(driver) for driver in (old.get("spec") or {}).get("drivers") or ()}
    causes: Causes = []
    for driver in (new.get("spec") or {}).get("drivers") or ():
        if driver.get("name") in before and _fixed(driver) != before[driver["name"]]:
            causes += validation.invalid("CSINodeDriver", driver, "field is immutable")
    return causes


def _fixed(driver: Object) -> Object:
    return {key: value for key, value in driver.items() if key != "allocatable"}


DRIVERS = Strategy(
    name_rule=csinames.driver,
    complete=True,
    returns_deleted=True,
    validate=validate_driver,
    validate_update=validate_driver_update,
    warnings=driver_warnings,
)
NODES = Strategy(complete=True, returns_deleted=True, validate=validate_node, validate_update=validate_node_update)
