"""Runs nftables transactions: each call changes everything or nothing.

libnftables' own Python module comes with Debian and not from an index, so that it can't live in a virtual environment;
its JSON interface is spoken through the `nft` program instead.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

from hypernetes.providers.network.base import NetworkError

Command = dict[str, Any]

TIMEOUT = 15.0  # seconds for one transaction; one takes some 10 ms
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def apply(commands: Iterable[Command]) -> None:
    """Applies the commands as one transaction in the calling thread's namespace. Raises NetworkError(FilterFailed)."""
    _run(["-j", "-f", "-"], json.dumps({"nftables": list(commands)}))


def tables() -> frozenset[tuple[str, str]]:
    """(family, name) of every table in the calling thread's namespace."""
    return frozenset((entry["family"], entry["name"]) for entry in _listing("list", "tables", "table"))


def elements(kind: str, family: str, table: str) -> dict[str, list[Any]]:
    """What each set or map (`kind`) of a table holds; {} where the table isn't there."""
    if (family, table) not in tables():
        return {}
    return {entry["name"]: list(entry.get("elem", [])) for entry in _listing("list", "table", kind, family, table)}


def _listing(verb: str, what: str, kind: str, *arguments: str) -> list[dict[str, Any]]:
    answer = json.loads(_run(["-j", verb, what, *arguments], ""))
    return [entry[kind] for entry in answer["nftables"] if kind in entry]


def _run(arguments: list[str], text: str) -> str:
    program = shutil.which("nft", path=_PATH)
    if program is None:
        raise NetworkError("FilterFailed", "the program nft is missing; install nftables")
    try:
        done = subprocess.run(
            [program, *arguments], input=text, capture_output=True, text=True, timeout=TIMEOUT, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise NetworkError("FilterFailed", f"nft did not answer within {TIMEOUT:.0f} s") from error
    except subprocess.CalledProcessError as error:
        message = f"nft refused a ruleset: {error.stderr.strip() or error.stdout.strip()}"
        raise NetworkError("FilterFailed", message) from error
    return done.stdout
