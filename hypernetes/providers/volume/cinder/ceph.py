"""Ceph by its command line clients `rbd` and `ceph` (Debian's ceph-common). Keys stay in their files."""

import asyncio
import contextlib
import json
import os
from typing import Any

from hypernetes.providers.volume.base import Refused, Unavailable
from hypernetes.providers.volume.cinder.configuration import Credential
from hypernetes.providers.volume.cinder.connections import Image

CALL_SECONDS = 30.0
_ABSENT = 2  # ENOENT: what `rbd` exits with when an image or a key of its metadata isn't there


class Absent(Exception):
    """The image, or what is asked of it, isn't there."""


async def rbd(image: Image, credential: Credential, *arguments: str) -> str:
    """Raises Absent, Unavailable."""
    return await _run("rbd", image, credential, *arguments)


async def listed(image: Image, credential: Credential, *arguments: str) -> Any:
    """What `rbd` says in JSON. Raises Absent, Unavailable."""
    said = await rbd(image, credential, *arguments, "--format", "json")
    try:
        return json.loads(said or "null")
    except ValueError as error:
        raise Unavailable("CephUnavailable", f"rbd {arguments[0]}: its answer can't be understood") from error


async def blocklist(image: Image, credential: Credential, address: str, seconds: int) -> None:
    """After this no OSD that knows of it takes a write of that client's. Raises Unavailable."""
    try:
        await _run("ceph", image, credential, "osd", "blocklist", "add", address, str(seconds))
    except Absent as error:
        raise Unavailable("CephUnavailable", f"{address} can't be blocked: {error}") from error


def key(credential: Credential) -> str:
    """The user's, in base64, from the keyring. Raises Unavailable: the file may come yet."""
    section = None
    try:
        lines = credential.keyring.read_text().splitlines()
    except OSError as error:
        raise Unavailable("CredentialMissing", f"the keyring of Ceph's user {credential.user!r}: {error}") from error
    for line in map(str.strip, lines):
        if line.startswith("["):
            section = line.strip("[]")
        name, equals, value = line.partition("=")
        if equals and name.strip() == "key" and section == f"client.{credential.user}":
            return value.strip()
    raise Unavailable("CredentialMissing", f"{credential.keyring} has no key of client.{credential.user}")


def credential_of(image: Image, credentials: Any) -> Credential:
    """Raises Refused."""
    found = credentials.get(image.secret_uuid)
    if not isinstance(found, Credential):
        raise Refused(
            "CredentialMissing", f"no user of Ceph is configured here for rbd_secret_uuid {image.secret_uuid!r}"
        )
    return found


async def _run(program: str, image: Image, credential: Credential, *arguments: str) -> str:
    options = ("--conf", os.devnull, "--mon-host", ",".join(image.monitors), "--id", credential.user,
               "--keyring", str(credential.keyring))  # fmt: skip
    variables = {name: value for name, value in os.environ.items() if name != "CEPH_ARGS"} | {"LC_ALL": "C"}
    try:
        process = await asyncio.create_subprocess_exec(
            program, *options, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env=variables,
        )  # fmt: skip
    except OSError as error:
        raise Unavailable("CephUnavailable", f"{program} can't be run (Debian's ceph-common): {error}") from error
    try:
        async with asyncio.timeout(CALL_SECONDS):
            out, complaint = await process.communicate()
    except TimeoutError as error:
        raise Unavailable("CephUnavailable", f"Ceph didn't answer in {CALL_SECONDS:.0f} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == 0:
        return out.decode(errors="replace")
    last = (complaint.decode(errors="replace").strip().splitlines() or [f"it ended with {process.returncode}"])[-1]
    if process.returncode == _ABSENT:
        raise Absent(last[:200])
    raise Unavailable("CephUnavailable", f"{program} {arguments[0]}: {last[:200]}")
