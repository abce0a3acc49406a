"""A registry's side of things: is it one, does it have an image, take one (OCI distribution specification 1.1)."""

import http.client
import json
from contextlib import closing
from urllib.parse import urlsplit

from demoimages.errors import ImagesError
from demoimages.layout import MANIFEST_TYPE, Image

TIMEOUT = 30.0  # seconds for one request


class Registry:
    """One that speaks plain HTTP, as ours on this machine does."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    @property
    def name(self) -> str:
        return f"{self._host}:{self._port}"

    def _request(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None, accept: str = "*/*"
    ) -> tuple[int, dict[str, str], bytes]:
        headers = {"Accept": accept} | ({"Content-Type": content_type} if content_type else {})
        with closing(http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT)) as connection:
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise ImagesError(f"the registry at {self.name} does not answer: {error}") from error
        return response.status, {name.lower(): value for name, value in response.getheaders()}, data

    def is_one(self) -> bool:
        """Whether a registry answers here. Raises ImagesError where nothing speaks HTTP."""
        status, headers, _ = self._request("GET", "/v2/")
        return status == 200 and headers.get("docker-distribution-api-version") == "registry/2.0"

    def manifest_digest(self, repository: str, tag: str) -> str | None:
        status, headers, _ = self._request("HEAD", f"/v2/{repository}/manifests/{tag}", accept=MANIFEST_TYPE)
        return headers.get("docker-content-digest") if status == 200 else None

    def manifest(self, repository: str, reference: str) -> bytes:
        """Raises ImagesError where it isn't there."""
        return self._get(f"/v2/{repository}/manifests/{reference}", MANIFEST_TYPE)

    def blob(self, repository: str, digest: str) -> bytes:
        """Raises ImagesError where it isn't there."""
        return self._get(f"/v2/{repository}/blobs/{digest}", "*/*")

    def _get(self, path: str, accept: str) -> bytes:
        status, _, data = self._request("GET", path, accept=accept)
        if status != 200:
            raise ImagesError(f"{self.name}{path}: status {status}")
        return data

    def push(self, repository: str, image: Image, tags: list[str]) -> bool:
        """Whether anything had to be sent."""
        if all(self.manifest_digest(repository, tag) == image.digest for tag in tags):
            return False
        for blob in image.blobs:
            status, _, _ = self._request("HEAD", f"/v2/{repository}/blobs/{blob.digest}")
            if status != 200:
                self._upload(repository, blob.digest, blob.data)
        for tag in tags:
            path = f"/v2/{repository}/manifests/{tag}"
            status, _, data = self._request("PUT", path, image.manifest, MANIFEST_TYPE)
            self._expect(status, 201, f"manifest {repository}:{tag}", data)
        return True

    def _upload(self, repository: str, digest: str, data: bytes) -> None:
        status, headers, answer = self._request("POST", f"/v2/{repository}/blobs/uploads/", b"")
        self._expect(status, 202, f"an upload to {repository}", answer)
        place = urlsplit(headers["location"])
        query = f"{place.query}&digest={digest}" if place.query else f"digest={digest}"
        status, _, answer = self._request("PUT", f"{place.path}?{query}", data, "application/octet-stream")
        self._expect(status, 201, f"blob {digest} of {repository}", answer)

    def _expect(self, status: int, wanted: int, what: str, answer: bytes) -> None:
        if status == wanted:
            return
        try:
            reason = json.loads(answer)["errors"][0]["message"]
        except (ValueError, LookupError, TypeError):
            reason = "no reason given"
        raise ImagesError(f"the registry at {self.name} did not take {what}: status {status}, {reason}")
