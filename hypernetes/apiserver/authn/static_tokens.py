"""Tokens from a file, for automation that has nothing better: `token,user,tenant,tenant-uid,"group,group"` a line.

The form is upstream's `--token-auth-file` with the tenant in it. Only hashes of the tokens are kept in memory.
"""

import csv
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from hypernetes.api.tenancy import is_dns_label
from hypernetes.apiserver.authn.users import User, with_authenticated

_COLUMNS = 5
MIN_TOKEN_CHARACTERS = 16


class TokenFileError(ValueError):
    """The token file is unusable; the message names the line and never a token."""


def read_tokens(lines: Iterable[str]) -> dict[bytes, User]:
    """Hash of the token -> user. Raises TokenFileError."""
    tokens: dict[bytes, User] = {}
    for number, row in enumerate(csv.reader(lines, skipinitialspace=True), start=1):
        if not row or row[0].startswith("#"):
            continue
        if len(row) not in (_COLUMNS - 1, _COLUMNS):
            raise TokenFileError(f'line {number}: expected token,user,tenant,tenant-uid,"group,group"')
        token, user, tenant, tenant_uid = (column.strip() for column in row[:4])
        if len(token) < MIN_TOKEN_CHARACTERS:
            raise TokenFileError(f"line {number}: a token must have at least {MIN_TOKEN_CHARACTERS} characters")
        if not user or not tenant_uid or not is_dns_label(tenant):
            raise TokenFileError(f"line {number}: user, tenant and tenant UID must be given")
        digest = hashlib.sha256(token.encode()).digest()
        if digest in tokens:
            raise TokenFileError(f"line {number}: the token of an earlier line")
        groups = tuple(group.strip() for group in ",".join(row[4:]).split(",") if group.strip())
        tokens[digest] = User(user, with_authenticated(groups), tenant, tenant_uid)
    return tokens


def load(path: Path) -> dict[bytes, User]:
    """The tokens of a file; none where there is no file. Raises TokenFileError, OSError."""
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            return read_tokens(lines)
    except FileNotFoundError:
        return {}
    except (TokenFileError, UnicodeDecodeError, csv.Error) as error:
        raise TokenFileError(f"{path}: {error}") from error


def find(token: str, tokens: Mapping[bytes, User]) -> User | None:
    """The user of a token. Found by hash, so the time it takes says nothing about other tokens."""
    return tokens.get(hashlib.sha256(token.encode()).digest())
