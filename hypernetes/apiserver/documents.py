"""Answers that are the same for everyone until the server changes: encoded once, with an ETag."""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Document:
    body: bytes
    etag: str  # with its quotes, as in the header
    content_type: str = JSON

    @classmethod
    def of(cls, value: Any, content_type: str = JSON) -> "Document":
        return cls.of_bytes(orjson.dumps(value), content_type)

    @classmethod
    def of_bytes(cls, body: bytes, content_type: str) -> "Document":
        return cls(body, f'"{hashlib.sha256(body).hexdigest().upper()}"', content_type)

    @property
    def hash(self) -> str:
        return self.etag.strip('"')

    def matches(self, if_none_match: str | None) -> bool:
        """True where the client has it already, and gets 304 (RFC 9110, weak comparison)."""
        offered = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
        return self.etag in offered or "*" in offered
