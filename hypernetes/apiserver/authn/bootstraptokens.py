"""Bootstrap tokens: with one a node that has no certificate yet asks for it (kubeadm's `abcdef.0123456789abcdef`).

A token is a Secret `bootstrap-token-<id>` of type `bootstrap.kubernetes.io/token` in `kube-system` of the provider's
tenant. Whoever shows it is `system:bootstrap:<id>` in the group `system:bootstrappers`, and may what RBAC gives that
group. It ends with its Secret, and at its expiration. (Form: the Kubernetes documentation on bootstrap tokens.)
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hypernetes.api import times
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver.authn.users import User, with_authenticated

TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
GROUP = "system:bootstrappers"
USER_PREFIX = "system:bootstrap:"

_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})\Z")
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\Z")


def secret_name(token: str) -> str | None:
    """The Secret that a token would be of; None for what is no such token."""
    found = _TOKEN.match(token)
    return None if found is None else f"bootstrap-token-{found[1]}"


def user_of(token: str, secret: Mapping[str, Any], system_uid: str, now: datetime) -> User | None:
    """Whose a token is, by the Secret of its id; None where it is nobody's."""
    found = _TOKEN.match(token)
    if found is None or secret.get("type") != TYPE or "deletionTimestamp" in secret["metadata"]:
        return None
    said = {key: _text(value) for key, value in (secret.get("data") or {}).items()}
    right = hmac.compare_digest(said.get("token-secret", "").encode(), found[2].encode())
    if not right or said.get("token-id") != found[1] or said.get("usage-bootstrap-authentication") != "true":
        return None
    if said.get("expiration"):
        try:
            if now >= times.parse_time(said["expiration"]):
                return None
        except ValueError:
            return None
    extra = tuple(each.strip() for each in said.get("auth-extra-groups", "").split(",") if each.strip())
    if not all(_EXTRA_GROUP.match(group) for group in extra):
        return None
    groups = with_authenticated((GROUP, *sorted(set(extra))))
    return User(f"{USER_PREFIX}{found[1]}", groups, SYSTEM_TENANT, system_uid)


def _text(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
