"""Answers that are the same for everyone until the server changes: encoded and compressed once, with an ETag."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

JSON = "application/json"


COMPRESSED_FROM_BYTES = 128 * 1024  # what is smaller isn't worth it; upstream's figure


@dataclass(frozen=True)
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

    @cached_property
    def compressed(self) -> bytes | None:
        """With gzip; None where the document is too small for that."""
        return gzip.compress(self.body, 6, mtime=0) if len(self.body) >= COMPRESSED_FROM_BYTES else None

    def matches(self, if_none_match: str | None) -> bool:
        """True where the client has it already, and gets 304 (RFC 9110, weak comparison)."""
        offered = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
        return self.etag in offered or "*" in offered
