"""ConfigMaps and Secrets: keys that become file names, and content that may be fixed for good."""

import base64
import binascii
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import secrettypes
from hypernetes.apiserver.registry.strategy import Strategy
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

MAX_BYTES = 1024 * 1024  # of all values together; upstream's figure


def validate_config_map(config_map: Object) -> Causes:
    data, binary = config_map.get("data") or {}, config_map.get("binaryData") or {}
    causes: Causes = []
    for field, values in (("data", data), ("binaryData", binary)):
        for key in values:
            causes += validation.config_key(key, f"{field}[{key}]")
            if field == "data" and key in binary:
                causes += validation.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    size = sum(len(value.encode()) for value in data.values()) + _decoded_size(binary)
    return causes + (validation.too_long("", MAX_BYTES) if size > MAX_BYTES else [])


def validate_secret(secret: Object) -> Causes:
    data = secret.get("data") or {}
    causes = [cause for key in data for cause in validation.config_key(key, f"data[{key}]")]
    causes += secrettypes.validate(secret)
    return causes + (validation.too_long("data", MAX_BYTES) if _decoded_size(data) > MAX_BYTES else [])


def _decoded_size(values: dict[str, str]) -> int:
    try:
        return sum(len(base64.b64decode(value)) for value in values.values())
    except binascii.Error:  # the schema's to complain of
        return 0


def validate_update(new: Object, old: Object) -> Causes:
    causes: Causes = []
    if old.get("kind") == "Secret" and new.get("type") != old.get("type"):
        causes += validation.invalid("type", new.get("type"), "field is immutable")
    if not old.get("immutable"):
        return causes
    why = "field is immutable when `immutable` is set"
    if not new.get("immutable"):
        causes += validation.forbidden("immutable", why)
    for field in ("data", "binaryData"):
        if (new.get(field) or {}) != (old.get(field) or {}):
            causes += validation.forbidden(field, why)
    return causes


CONFIG_MAPS = Strategy(validate=validate_config_map, validate_update=validate_update)
SECRETS = Strategy(validate=validate_secret, validate_update=validate_update)
