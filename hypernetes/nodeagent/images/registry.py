"""The client's half of the OCI distribution protocol: tokens, manifests, blobs.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md and, for token services,
https://distribution.github.io/distribution/spec/auth/token/.
"""

import asyncio
import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
from yarl import URL

from hypernetes.nodeagent.images.dialing import DialPolicy
from hypernetes.nodeagent.images.manifests import ACCEPTED, MAX_MANIFEST_BYTES, Descriptor, ImageError
from hypernetes.nodeagent.images.references import DEFAULT_REGISTRY, Reference

MAX_REDIRECTS = 5
REQUEST_SECONDS = 30.0
STALL_SECONDS = 60.0  # a blob that gives no byte for so long is given up
_MAX_TOKEN_BYTES = 64 * 1024
_CHUNK_BYTES = 256 * 1024
_CHALLENGE = re.compile(r'([a-zA-Z_]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Credential:
    username: str
    password: str

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Fetched:
    body: bytes
    content_type: str
    digest: str


class NotFound(ImageError):
    pass


class Denied(ImageError):
    pass


class Registry:
    """One image's registry and its mirrors, tried in order. `credential` goes to the registry itself, never to a
    mirror or to where a redirect leads."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        policy: DialPolicy,
        reference: Reference,
        *,
        credential: Credential | None = None,
        mirrors: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._session, self._policy, self._reference = session, policy, reference
        self._credential = credential
        bases = [*(mirrors or {}).get(reference.registry, ()), reference.registry]
        self._bases = [self._base(host) for host in bases]
        self._authorization: dict[URL, str] = {}

    def _base(self, host: str) -> URL:
        url = URL(f"https://{'registry-1.docker.io' if host == DEFAULT_REGISTRY else host}")
        return url.with_scheme("http").with_port(url.explicit_port or 80) if self._insecure(host) else url

    def _insecure(self, host: str) -> bool:
        return host in self._policy.trusted or f"{host}:80" in self._policy.trusted

    async def manifest(self, version: str) -> Fetched:
        """By tag or digest; a digest asked for is verified. Raises ImageError."""
        headers = {"Accept": ", ".join(ACCEPTED)}
        problems: list[ImageError] = []
        for base in self._bases:
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    async with await self._get(base, f"manifests/{version}", headers) as response:
                        body = await _read(response, MAX_MANIFEST_BYTES, "manifest")
                        content_type = response.headers.get("Content-Type", "")
            except TimeoutError:
                problems.append(ImageError(f"{base.authority}: no answer within {REQUEST_SECONDS:g} s"))
                continue
            except ImageError as error:
                problems.append(error)
                continue
            digest = "sha256:" + hashlib.sha256(body).hexdigest()
            if version.startswith("sha256:") and version != digest:
                problems.append(ImageError(f"{base.authority} answered a manifest with the digest {digest}"))
                continue
            return Fetched(body, content_type, digest)
        raise problems[-1]

    async def blob(self, descriptor: Descriptor, path: Path) -> None:
        """Downloads a blob into a new file, its size and digest verified. Raises ImageError, OSError (disk)."""
        problems: list[ImageError] = []
        for base in self._bases:
            try:
                await self._download(base, descriptor, path)
                return
            except ImageError as error:
                problems.append(error)
        raise problems[-1]

    async def _download(self, base: URL, descriptor: Descriptor, path: Path) -> None:
        hasher, received = hashlib.sha256(), 0
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                response = await self._get(base, f"blobs/{descriptor.digest}", {})
            async with response:
                with path.open("wb") as file:
                    while True:
                        async with asyncio.timeout(STALL_SECONDS):
                            chunk = await response.content.read(_CHUNK_BYTES)
                        if not chunk:
                            break
                        received += len(chunk)
                        if received > descriptor.size:
                            raise ImageError(f"blob {descriptor.digest} is longer than its {descriptor.size} bytes")
                        await asyncio.to_thread(_take, hasher, file, chunk)
        except TimeoutError as error:
            raise ImageError(f"{base.authority}: blob {descriptor.digest} stalled") from error
        except aiohttp.ClientError as error:
            raise ImageError(f"{base.authority}: blob {descriptor.digest} broke off: {error}") from error
        if received != descriptor.size or f"sha256:{hasher.hexdigest()}" != descriptor.digest:
            raise ImageError(f"blob {descriptor.digest} has the digest sha256:{hasher.hexdigest()}; pull refused")

    async def _get(self, base: URL, path: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """An answered 200; authorised if asked to, redirects followed by the policy. Raises ImageError."""
        url = base / "v2" / self._reference.repository / path
        response = await self._follow(url, {**headers, **self._authorization_header(base)})
        if response.status == 401:
            challenge = response.headers.get("WWW-Authenticate", "")
            response.release()
            await self._authorize(base, challenge)
            response = await self._follow(url, {**headers, **self._authorization_header(base)})
        if response.status == 200:
            return response
        response.release()
        raise self._refusal(base, response.status)

    def _authorization_header(self, base: URL) -> dict[str, str]:
        authorization = self._authorization.get(base)
        return {"Authorization": authorization} if authorization else {}

    async def _follow(self, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        sent = dict(headers)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._open(url, sent)
            if response.status not in (301, 302, 303, 307, 308):
                return response
            location = response.headers.get("Location", "")
            response.release()
            target = _join(url, location)
            if target.origin() != url.origin():
                sent.pop("Authorization", None)
            url = target
        raise ImageError(f"{url.authority} redirects too often")

    async def _open(self, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        self._policy.check(url)
        timeout = aiohttp.ClientTimeout(total=None, connect=REQUEST_SECONDS)
        try:
            return await self._session.get(url, headers=headers, allow_redirects=False, timeout=timeout)
        except aiohttp.ClientError as error:
            raise ImageError(f"cannot reach the registry {url.authority}: {error}") from error
        except TimeoutError as error:
            raise ImageError(f"cannot reach the registry {url.authority}: timed out") from error

    def _refusal(self, base: URL, status: int) -> ImageError:
        name = str(self._reference)
        if status == 404:
            return NotFound(f"{name}: not found in the registry {base.authority}")
        if status in (401, 403):
            return Denied(f"{name}: the registry {base.authority} denies access; the image doesn't exist or needs "
                          "imagePullSecrets")  # fmt: skip
        return ImageError(f"{name}: the registry {base.authority} answered HTTP {status}")

    async def _authorize(self, base: URL, challenge: str) -> None:
        own = base == self._bases[-1]
        credential = self._credential if own else None
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            if credential is None:
                raise self._refusal(base, 401)
            self._authorization[base] = credential.basic
            return
        if scheme.lower() != "bearer":
            raise self._refusal(base, 401)
        parameters = {key.lower(): value for key, value in _CHALLENGE.findall(rest)}
        token = await self._token(base, parameters, credential)
        self._authorization[base] = f"Bearer {token}"

    async def _token(self, base: URL, parameters: Mapping[str, str], credential: Credential | None) -> str:
        try:
            realm = URL(parameters["realm"])
        except (KeyError, ValueError) as error:
            raise ImageError(f"{base.authority} names no usable token service") from error
        query = {"scope": f"repository:{self._reference.repository}:pull"}
        if "service" in parameters:
            query["service"] = parameters["service"]
        headers = {"Authorization": credential.basic} if credential else {}
        async with await self._follow(realm.update_query(query), headers) as response:
            if response.status != 200:
                raise self._refusal(base, 401 if response.status in (400, 401, 403) else response.status)
            body = await _read(response, _MAX_TOKEN_BYTES, "token")
        try:
            answer = orjson.loads(body)
            token = answer.get("token") or answer.get("access_token")
        except (orjson.JSONDecodeError, AttributeError) as error:
            raise ImageError(f"the token service of {base.authority} answered no JSON object") from error
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise ImageError(f"the token service of {base.authority} answered no token")
        return token


def _take(hasher: "hashlib._Hash", file: object, chunk: bytes) -> None:
    hasher.update(chunk)
    file.write(chunk)  # type: ignore[attr-defined]


def _join(url: URL, location: str) -> URL:
    try:
        return url.join(URL(location, encoded=True))
    except ValueError as error:
        raise ImageError(f"{url.authority} redirects to something that is no URL") from error


async def _read(response: aiohttp.ClientResponse, limit: int, what: str) -> bytes:
    try:
        body = await response.content.read(limit + 1)
        while len(body) <= limit and (more := await response.content.read(limit + 1 - len(body))):
            body += more
    except aiohttp.ClientError as error:
        raise ImageError(f"the {what} broke off: {error}") from error
    if len(body) > limit:
        raise ImageError(f"the {what} is longer than {limit} bytes")
    return body
