"""A container's environment variables: literal, from ConfigMaps and Secrets, of the pod itself, and of its services.

Rules: https://kubernetes.io/docs/tasks/inject-data-application/ and the `$(VAR)` form of the API reference.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hypernetes.api.models.core_v1 import ConfigMap, Container, EnvVar, Pod, Secret, Service
from hypernetes.nodeagent import fieldrefs

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_ASSIGNMENT = re.compile(
    r"""(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<bare>[^'"\s]*))\Z"""
)
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*\Z")


class ConfigError(Exception):
    """The environment can't be made; the message is for the pod's owner (reason CreateContainerConfigError)."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The ConfigMaps and Secrets of the pod's namespace that it names; None for one that doesn't exist."""

    config_maps: Mapping[str, ConfigMap | None] = field(default_factory=dict)
    secrets: Mapping[str, Secret | None] = field(default_factory=dict)
    # What a container that ran before has left: by volume and path; None for a file that isn't there.
    files: Mapping[tuple[str, str], bytes | None] = field(default_factory=dict)


def expand(text: str, values: Mapping[str, str]) -> str:
    """`$(NAME)` becomes its value, `$$` one `$`; a name that isn't known stays as written."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return values.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)


def references(container: Container) -> tuple[set[str], set[str]]:
    """The names of the ConfigMaps and Secrets that the container's environment needs."""
    config_maps: set[str] = set()
    secrets: set[str] = set()
    for source in container.env_from:
        if source.config_map_ref and source.config_map_ref.name:
            config_maps.add(source.config_map_ref.name)
        if source.secret_ref and source.secret_ref.name:
            secrets.add(source.secret_ref.name)
    for variable in container.env:
        origin = variable.value_from
        if origin and origin.config_map_key_ref and origin.config_map_key_ref.name:
            config_maps.add(origin.config_map_key_ref.name)
        if origin and origin.secret_key_ref and origin.secret_key_ref.name:
            secrets.add(origin.secret_key_ref.name)
    return config_maps, secrets


def files(container: Container) -> set[tuple[str, str]]:
    """(volume, path) of the files that the container's variables are read from (KEP-3721)."""
    refs = (variable.value_from.file_key_ref for variable in container.env if variable.value_from)
    return {(ref.volume_name, ref.path) for ref in refs if ref is not None}


def environment(
    pod: Pod, container: Container, sources: Sources, services: Iterable[Service], facts: fieldrefs.PodFacts
) -> dict[str, str]:
    """All variables; later ones win: services, then envFrom, then env. Raises ConfigError."""
    result = service_variables(services, pod.metadata.namespace or "", links=pod.spec.enable_service_links is not False)
    for source in container.env_from:
        result.update(_from_source(source.prefix or "", _mapping(source, sources)))
    for variable in container.env:
        value = _value(pod, container, variable, sources, facts, result)
        if value is not None:
            result[variable.name] = value
    return result


def _mapping(source: object, sources: Sources) -> Mapping[str, str]:
    config_map = getattr(source, "config_map_ref", None)
    secret = getattr(source, "secret_ref", None)
    if config_map is not None:
        found = sources.config_maps.get(config_map.name or "")
        if found is None and not config_map.optional:
            raise ConfigError(f'configmap "{config_map.name}" not found')
        return found.data if found else {}
    if secret is not None:
        stored = sources.secrets.get(secret.name or "")
        if stored is None and not secret.optional:
            raise ConfigError(f'secret "{secret.name}" not found')
        return {key: secret_text(stored, key) for key in stored.data} if stored else {}
    return {}


def _from_source(prefix: str, values: Mapping[str, str]) -> dict[str, str]:
    """Keys that can't be a variable's name are left out, as upstream does."""
    return {prefix + key: values[key] for key in sorted(values) if _NAME.match(prefix + key)}


def _value(
    pod: Pod,
    container: Container,
    variable: EnvVar,
    sources: Sources,
    facts: fieldrefs.PodFacts,
    so_far: Mapping[str, str],
) -> str | None:
    origin = variable.value_from
    if origin is None:
        return expand(variable.value or "", so_far)
    try:
        if origin.field_ref:
            return fieldrefs.field_value(pod, origin.field_ref.field_path, facts)
        if origin.resource_field_ref:
            containers = {each.name: each for each in (*pod.spec.init_containers, *pod.spec.containers)}
            return fieldrefs.resource_value(containers, container.name, origin.resource_field_ref, facts)
    except fieldrefs.FieldError as error:
        raise ConfigError(f"variable {variable.name}: {error}") from error
    if ref := origin.config_map_key_ref:
        config_map = sources.config_maps.get(ref.name or "")
        if config_map is not None and ref.key in config_map.data:
            return config_map.data[ref.key]
        _require("configmap", ref.name, ref.key, config_map is not None, ref.optional)
        return None
    if key := origin.secret_key_ref:
        secret = sources.secrets.get(key.name or "")
        if secret is not None and key.key in secret.data:
            return secret_text(secret, key.key)
        _require("secret", key.name, key.key, secret is not None, key.optional)
        return None
    if file := origin.file_key_ref:
        stored = sources.files.get((file.volume_name, file.path))
        values = parse_file(stored or b"", f"file {file.path} of volume {file.volume_name}")
        if file.key in values:
            return values[file.key]
        _require("file", file.path, file.key, stored is not None, file.optional)
        return None
    raise ConfigError(f"variable {variable.name}: valueFrom names a source that is not supported")


def parse_file(content: bytes, what: str) -> dict[str, str]:
    """`NAME=value` lines, the value bare or in quotes; empty lines and comments are left out. Raises ConfigError."""
    result = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _ASSIGNMENT.match(text)
        if match is None:
            raise ConfigError(f"{what}: line {number} is not of the form NAME='value'")
        result[match["name"]] = next(match[kind] for kind in ("single", "double", "bare") if match[kind] is not None)
    return result


def _require(kind: str, name: str | None, key: str, exists: bool, optional: bool | None) -> None:
    """Raises ConfigError for a key that isn't there, unless it is optional."""
    if optional:
        return
    if exists:
        raise ConfigError(f'couldn\'t find key {key} in {kind} "{name}"')
    raise ConfigError(f'{kind} "{name}" not found')


def secret_text(secret: Secret, key: str) -> str:
    """One value of a Secret as text; what isn't UTF-8 is replaced, since a variable can't hold it."""
    return secret_bytes(secret, key).decode("utf-8", "replace").replace("\0", "")


def secret_bytes(secret: Secret, key: str) -> bytes:
    try:
        return base64.b64decode(secret.data[key])
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f'key {key} of secret "{secret.metadata.name}" is not base64') from error


def service_variables(services: Iterable[Service], namespace: str, *, links: bool) -> dict[str, str]:
    """`{NAME}_SERVICE_HOST` and the older link variables, of the pod's namespace; of `kubernetes` always."""
    result: dict[str, str] = {}
    for service in sorted(services, key=lambda each: (each.metadata.namespace or "", each.metadata.name or "")):
        address = service.spec.cluster_ip
        name, home = service.metadata.name or "", service.metadata.namespace or ""
        is_api = (home, name) == ("default", "kubernetes")
        if not address or address == "None" or not service.spec.ports or not (is_api or (links and home == namespace)):
            continue
        result.update(_links(name.upper().replace("-", "_"), address, service))
    return result


def _links(prefix: str, address: str, service: Service) -> dict[str, str]:
    ports = service.spec.ports
    first = ports[0]
    url = f"{(first.protocol or 'TCP').lower()}://{address}:{first.port}"
    result = {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": str(first.port),
        f"{prefix}_PORT": url,
    }
    for port in ports:
        if port.name:
            result[f"{prefix}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
        protocol = port.protocol or "TCP"
        link = f"{prefix}_PORT_{port.port}_{protocol}"
        result |= {
            link: f"{protocol.lower()}://{address}:{port.port}",
            f"{link}_PROTO": protocol.lower(),
            f"{link}_PORT": str(port.port),
            f"{link}_ADDR": address,
        }
    return result
