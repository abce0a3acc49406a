"""Secrets of a known type have what that type is for."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.validation import Causes

_ACCOUNT_TOKEN = "kubernetes.io/service-account-token"
_ACCOUNT_NAME = "kubernetes.io/service-account.name"
# type -> keys that its data must have; an empty value counts only where it says so
_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_MAY_BE_EMPTY = frozenset({"tls.crt", "tls.key"})
_BASIC_AUTH = "kubernetes.io/basic-auth"


def validate(secret: dict[str, Any]) -> Causes:
    kind, data = secret.get("type") or "", secret.get("data") or {}
    causes: Causes = []
    for key in _KEYS.get(kind, ()):
        if key not in data or (not data[key] and key not in _MAY_BE_EMPTY):
            causes += validation.required(f"data[{key}]")
    if kind == _BASIC_AUTH and "username" not in data and "password" not in data:
        causes += validation.required("data[username]") + validation.required("data[password]")
    if kind == _ACCOUNT_TOKEN and not (secret["metadata"].get("annotations") or {}).get(_ACCOUNT_NAME):
        causes += validation.required(f"metadata.annotations[{_ACCOUNT_NAME}]")
    return causes
