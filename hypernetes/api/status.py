"""Errors as the API speaks them: a Kubernetes Status that can be raised.

Both sides use it: the server raises one and answers with it, the client raises the one it was answered.
"""

from typing import Any

# reason -> HTTP status code, as upstream pairs them
CODES = {
    "BadRequest": 400, "Unauthorized": 401, "Forbidden": 403, "NotFound": 404, "MethodNotAllowed": 405,
    "NotAcceptable": 406, "AlreadyExists": 409, "Conflict": 409, "Gone": 410, "Expired": 410,
    "RequestEntityTooLarge": 413, "UnsupportedMediaType": 415, "Invalid": 422, "TooManyRequests": 429,
    "InternalError": 500, "ServiceUnavailable": 503, "Timeout": 504, "ServerTimeout": 500,
}  # fmt: skip


class StatusError(Exception):
    """A failed request.

    `reason` is one of CODES; `causes` are {"reason", "message", "field"}; `details` is what else belongs into
    `status.details` (name, group, kind, uid, retryAfterSeconds).
    """

    def __init__(
        self, reason: str, message: str, *, code: int | None = None,
        causes: list[dict[str, str]] | None = None, details: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.code = code if code is not None else CODES.get(reason, 500)
        self.causes = causes or []
        self.details = details or {}

    def to_dict(self) -> dict[str, Any]:
        details = {**self.details, **({"causes": self.causes} if self.causes else {})}
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason,
            **({"details": details} if details else {}), "code": self.code,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, status: dict[str, Any], code: int) -> "StatusError":
        """The error of a Status body; `code` is the HTTP status of the answer, for bodies without one."""
        details = dict(status.get("details") or {})
        causes = details.pop("causes", None)
        reason = status.get("reason") or ""
        return cls(
            reason,
            status.get("message") or f"HTTP {code}",
            code=status.get("code") or code,
            causes=causes,
            details=details,
        )


def not_found(group_resource: str, name: str) -> StatusError:
    resource, _, group = group_resource.partition(".")
    details = {"name": name, **({"group": group} if group else {}), "kind": resource}
    return StatusError("NotFound", f'{group_resource} "{name}" not found', details=details)


def already_exists(group_resource: str, name: str) -> StatusError:
    resource, _, group = group_resource.partition(".")
    details = {"name": name, **({"group": group} if group else {}), "kind": resource}
    return StatusError("AlreadyExists", f'{group_resource} "{name}" already exists', details=details)


def conflict(group_resource: str, name: str, why: str) -> StatusError:
    resource, _, group = group_resource.partition(".")
    details = {"name": name, **({"group": group} if group else {}), "kind": resource}
    return StatusError(
        "Conflict", f'Operation cannot be fulfilled on {group_resource} "{name}": {why}', details=details
    )


def cause(reason: str, field: str, message: str) -> dict[str, str]:
    """One cause of an Invalid: `reason` is FieldValueRequired, FieldValueInvalid, FieldValueNotSupported, …"""
    return {"reason": reason, "message": message, "field": field}


def invalid(group: str, kind: str, name: str, causes: list[dict[str, str]]) -> StatusError:
    texts = [f"{c['field']}: {c['message']}" if c.get("field") else c["message"] for c in causes]
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind}.{group}" if group else kind
    return StatusError(
        "Invalid", f'{qualified} "{name}" is invalid: {joined}',
        causes=causes, details={"name": name, "group": group, "kind": kind} if group else {"name": name, "kind": kind},
    )  # fmt: skip
