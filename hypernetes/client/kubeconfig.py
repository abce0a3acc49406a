"""kubeconfig files: which server, which CA, which credentials. Read as kubectl reads them, written with mode 0600.

Form: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

import base64
import binascii
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class KubeconfigError(Exception):
    """The file is missing, is no kubeconfig, or asks for what we don't do; the message names it and what to change."""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """The current context of a kubeconfig, with every reference to another file already followed."""

    server: str
    ca_pem: bytes | None = None
    client_cert_pem: bytes | None = None
    client_key_pem: bytes | None = None
    token: str | None = None
    namespace: str | None = None
    files: tuple[Path, ...] = ()  # all files it was read from, to see when it changes


def read(path: str | os.PathLike[str], context: str | None = None) -> Kubeconfig:
    """Raises KubeconfigError."""
    file = Path(path)
    reader = _Reader(file)
    document = reader.document()
    chosen = context or document.get("current-context")
    if not chosen:
        raise KubeconfigError(f"{file}: no current-context; set one with `kubectl config use-context`")
    context_entry = reader.named(document, "contexts", "context", chosen)
    cluster = reader.named(document, "clusters", "cluster", context_entry.get("cluster"))
    user = reader.named(document, "users", "user", context_entry.get("user"))
    if not cluster.get("server"):
        raise KubeconfigError(f"{file}: cluster {context_entry.get('cluster')!r} has no server")
    for unsupported in ("exec", "auth-provider", "username"):
        if unsupported in user:
            raise KubeconfigError(
                f"{file}: user {context_entry.get('user')!r} uses {unsupported!r}, which isn't supported"
            )
    token = reader.data(user, "token", "tokenFile", encoded=False)
    config = Kubeconfig(
        server=str(cluster["server"]).rstrip("/"),
        ca_pem=reader.data(cluster, "certificate-authority-data", "certificate-authority"),
        client_cert_pem=reader.data(user, "client-certificate-data", "client-certificate"),
        client_key_pem=reader.data(user, "client-key-data", "client-key"),
        token=token.decode().strip() if token else None,
        namespace=context_entry.get("namespace"),
        files=tuple(reader.files),
    )
    if (config.client_cert_pem is None) != (config.client_key_pem is None):
        raise KubeconfigError(f"{file}: a client certificate needs its key, and a key its certificate")
    return config


def write(path: str | os.PathLike[str], config: Kubeconfig, *, name: str, user: str) -> None:
    """Writes a file with one context called `name`. Atomic: a reader sees the old file or the new one."""
    cluster: dict[str, Any] = {"server": config.server}
    if config.ca_pem is not None:
        cluster["certificate-authority-data"] = base64.b64encode(config.ca_pem).decode()
    credentials: dict[str, Any] = {}
    if config.client_cert_pem is not None and config.client_key_pem is not None:
        credentials["client-certificate-data"] = base64.b64encode(config.client_cert_pem).decode()
        credentials["client-key-data"] = base64.b64encode(config.client_key_pem).decode()
    if config.token is not None:
        credentials["token"] = config.token
    context = {"cluster": name, "user": user, **({"namespace": config.namespace} if config.namespace else {})}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }
    _replace(Path(path), yaml.safe_dump(document, sort_keys=False).encode())


def merge(path: str | os.PathLike[str], parts: Mapping[str, Mapping[str, Any]], *, current: str) -> None:
    """Puts entries into a kubeconfig, made if it isn't there, in the places of those of their names; the rest stays.

    `parts` has one entry for each of the lists `clusters`, `users` and `contexts`; `current` is the context that is
    used from now on. Raises KubeconfigError for a file that is something else, which stays as it is, and OSError.
    """
    file = Path(path)
    document: dict[str, Any] = {"apiVersion": "v1", "kind": "Config"}
    if file.exists():
        document = _Reader(file).document()
    for plural, entry in parts.items():
        entries = document.get(plural) or []
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise KubeconfigError(f"{file}: its {plural} are no list of entries")
        names = [each.get("name") for each in entries]
        if entry["name"] in names:
            entries[names.index(entry["name"])] = dict(entry)
        else:
            entries.append(dict(entry))
        document[plural] = entries
    document["current-context"] = current
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _replace(file, yaml.safe_dump(document, sort_keys=False).encode())


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # created with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.files = [path]

    def document(self) -> dict[str, Any]:
        try:
            document = yaml.safe_load(self._read(self._path))
        except yaml.YAMLError as error:
            raise KubeconfigError(f"{self._path} is not YAML: {error}") from error
        if not isinstance(document, dict):
            raise KubeconfigError(f"{self._path} is not a kubeconfig")
        return document

    def named(self, document: dict[str, Any], plural: str, singular: str, name: Any) -> dict[str, Any]:
        entries = document.get(plural)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(singular), dict):
                found: dict[str, Any] = entry[singular]
                return found
        raise KubeconfigError(f"{self._path}: no {singular} named {name!r}")

    def data(self, entry: dict[str, Any], inline: str, reference: str, *, encoded: bool = True) -> bytes | None:
        """The value given inline (in base64 if `encoded`), else the content of the file it refers to."""
        if entry.get(inline):
            text = str(entry[inline])
            if not encoded:
                return text.encode()
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error as error:
                raise KubeconfigError(f"{self._path}: {inline} is not base64") from error
        if not entry.get(reference):
            return None
        # Relative to the kubeconfig, not to the working directory, as kubectl does.
        file = self._path.parent / str(entry[reference])
        self.files.append(file)
        return self._read(file)

    def _read(self, file: Path) -> bytes:
        try:
            return file.read_bytes()
        except OSError as error:
            raise KubeconfigError(f"cannot read {file}: {error.strerror}") from error
