"""Image names as people write them: `nginx`, `ghcr.io/org/app:1.2`, `127.0.0.1:5000/web@sha256:…`.

Grammar and the defaults (docker.io, library/, latest) are those of the distribution project.
"""

import re
from dataclasses import dataclass

DEFAULT_REGISTRY = "docker.io"
_ALIASES = {"index.docker.io": DEFAULT_REGISTRY}
_MAX_REPOSITORY = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?\Z")
_TAG = re.compile(r"[\w][\w.-]{0,127}\Z", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


class InvalidReference(ValueError):
    """Not an image's name; the message says why (reason InvalidImageName)."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A name in full. At least one of `tag` and `digest` is set; a digest, where given, decides."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """Registry and repository: where the image comes from."""
        return f"{self.registry}/{self.repository}"

    @property
    def version(self) -> str:
        """What to ask the registry for."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{'@' + self.digest if self.digest else ''}"


def parse(text: str) -> Reference:
    """Raises InvalidReference."""
    rest, at, digest = text.partition("@")
    if at and not DIGEST.match(digest):
        raise InvalidReference(f"{text!r}: the digest must be sha256: and 64 hexadecimal digits")
    first, slash, remainder = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, path = first, remainder
    else:
        registry, path = DEFAULT_REGISTRY, rest
    repository, colon, tag = path.rpartition(":")
    if not colon:
        repository, tag = path, ""
    elif not _TAG.match(tag):
        raise InvalidReference(f"{text!r}: {tag!r} is no tag")
    registry = _ALIASES.get(registry, registry)
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    if not _HOST.match(registry):
        raise InvalidReference(f"{text!r}: {registry!r} is no registry's host name")
    if not _REPOSITORY.match(repository) or len(repository) > _MAX_REPOSITORY:
        raise InvalidReference(f"{text!r}: couldn't parse image name; the repository must be lower case")
    return Reference(registry, repository, tag or (None if digest else "latest"), digest or None)
