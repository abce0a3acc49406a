"""`--authentication-config`: which issuers' JWTs open the API, and what their claims mean (pure).

The form is AuthenticationConfiguration of apiserver.config.k8s.io (KEP-3331). Ours is `tenant` beside `claimMappings`:
every credential says its tenant, so each issuer has either one that is named here, or a claim that names it. An `extra`
may take a `claim`. CEL expressions are refused: there is nothing here that would evaluate them.

    jwt:
    - issuer: {url: https://id.example.com, audiences: [kubernetes]}
      tenant: {claim: organization, prefix: ""}       # or {name: acme}
      claimMappings: {username: {claim: sub, prefix: "id:"}, groups: {claim: groups, prefix: "id:"}}
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from hypernetes.api.tenancy import is_dns_label
from hypernetes.apiserver.authn.serviceaccounts import ISSUER_BASE
from hypernetes.providers.identity.base import ConfigurationError

Object = Mapping[str, Any]

_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1")
_MOST_ISSUERS = 64  # upstream's figure
_RESERVED_DOMAINS = ("kubernetes.io", "k8s.io", "hypernetes.io")  # keys of extra below them are the cluster's own
MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Mapped:
    """A claim, and what is put before its value."""

    claim: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Issuer:
    url: str
    discovery_url: str
    authority_pem: str  # "": what the machine trusts
    audiences: tuple[str, ...]
    tenant: str  # "": a claim names it
    tenant_claim: Mapped | None
    username: Mapped
    groups: Mapped | None
    uid: str  # a claim; "": none
    extra: tuple[tuple[str, str], ...]  # (key, claim)
    required: tuple[tuple[str, str], ...]  # (claim, its value; "": any but it must be there)


@dataclass(frozen=True, slots=True)
class Configuration:
    """All of the file. `anonymous_paths`: where nobody may ask; None: wherever the authorizer lets them."""

    issuers: tuple[Issuer, ...] = ()
    anonymous: bool = True
    anonymous_paths: tuple[str, ...] | None = None


def load(path: Path) -> Configuration:
    """Raises ConfigurationError."""
    try:
        content = path.read_bytes()
        if len(content) > MAX_FILE_BYTES:
            raise ConfigurationError(f"{path}: longer than {MAX_FILE_BYTES} bytes")
        return parse(yaml.load(content, Loader=yaml.CSafeLoader))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def parse(document: Any) -> Configuration:
    """Raises ConfigurationError, which names the field."""
    top = _object(document, "the document", ("apiVersion", "kind", "jwt", "anonymous"))
    if top.get("kind") != "AuthenticationConfiguration" or top.get("apiVersion") not in _VERSIONS:
        raise ConfigurationError("must be an AuthenticationConfiguration of apiserver.config.k8s.io/v1")
    entries = _list(top.get("jwt"), "jwt")
    if len(entries) > _MOST_ISSUERS:
        raise ConfigurationError(f"jwt: at most {_MOST_ISSUERS} issuers")
    issuers = tuple(_issuer(entry, f"jwt[{number}]") for number, entry in enumerate(entries))
    urls = [issuer.url for issuer in issuers]
    for number, url in enumerate(urls):
        if url in urls[:number]:
            raise ConfigurationError(f"jwt[{number}].issuer.url: {url} is there already")
    return Configuration(issuers, *_anonymous(top.get("anonymous")))


def _issuer(entry: Any, path: str) -> Issuer:
    known = ("issuer", "tenant", "claimMappings", "claimValidationRules", "userValidationRules")
    entry = _object(entry, path, known)
    if entry.get("userValidationRules"):
        raise _expression(f"{path}.userValidationRules")
    where = f"{path}.issuer"
    issuer = _object(entry.get("issuer"), where, (
        "url", "discoveryURL", "certificateAuthority", "audiences", "audienceMatchPolicy",
    ))  # fmt: skip
    url = _https(_text(issuer, "url", where), f"{where}.url")
    if url == ISSUER_BASE or url.startswith(f"{ISSUER_BASE}/"):
        raise ConfigurationError(f"{where}.url: {url} is the cluster's own issuer")
    discovery = issuer.get("discoveryURL") or ""
    audiences = tuple(str(each) for each in _list(issuer.get("audiences"), f"{where}.audiences"))
    if not audiences or not all(audiences):
        raise ConfigurationError(f"{where}.audiences: at least one is needed")
    if len(audiences) > 1 and issuer.get("audienceMatchPolicy") != "MatchAny":
        raise ConfigurationError(f"{where}.audienceMatchPolicy: must be MatchAny where there are several audiences")
    if issuer.get("audienceMatchPolicy") not in (None, "", "MatchAny"):
        raise ConfigurationError(f"{where}.audienceMatchPolicy: must be MatchAny, or absent")
    mappings = _object(entry.get("claimMappings"), f"{path}.claimMappings", ("username", "groups", "uid", "extra"))
    tenant, tenant_claim = _tenant(entry.get("tenant"), f"{path}.tenant")
    username = _mapped(mappings.get("username"), f"{path}.claimMappings.username")
    if username is None:
        raise ConfigurationError(f"{path}.claimMappings.username: must be given")
    return Issuer(
        url=url,
        discovery_url=_https(discovery or f"{url}/.well-known/openid-configuration", f"{where}.discoveryURL"),
        authority_pem=issuer.get("certificateAuthority") or "",
        audiences=audiences, tenant=tenant, tenant_claim=tenant_claim, username=username,
        groups=_mapped(mappings.get("groups"), f"{path}.claimMappings.groups"),
        uid=_uid(mappings.get("uid"), f"{path}.claimMappings.uid"),
        extra=_extra(mappings.get("extra"), f"{path}.claimMappings.extra"),
        required=_required(entry.get("claimValidationRules"), f"{path}.claimValidationRules"),
    )  # fmt: skip


def _tenant(entry: Any, path: str) -> tuple[str, Mapped | None]:
    found = _object(entry, path, ("name", "claim", "prefix", "expression"))
    _no_expression(found, path, "expression")
    if bool(found.get("name")) == bool(found.get("claim")):
        raise ConfigurationError(f"{path}: either name or claim must be given: every credential is of one tenant")
    if not found.get("name"):
        return "", Mapped(str(found["claim"]), str(found.get("prefix") or ""))
    if not is_dns_label(str(found["name"])):
        raise ConfigurationError(f"{path}.name: {found['name']!r} can't be a tenant's name")
    return str(found["name"]), None


def _mapped(entry: Any, path: str) -> Mapped | None:
    if entry is None:
        return None
    found = _object(entry, path, ("claim", "prefix", "expression"))
    _no_expression(found, path, "expression")
    if found.get("prefix") is None:
        raise ConfigurationError(f'{path}.prefix: must be given with a claim; "" for none')
    return Mapped(_text(found, "claim", path), str(found["prefix"]))


def _uid(entry: Any, path: str) -> str:
    found = _object(entry if entry is not None else {}, path, ("claim", "expression"))
    _no_expression(found, path, "expression")
    return str(found.get("claim") or "")


def _extra(entries: Any, path: str) -> tuple[tuple[str, str], ...]:
    extra = []
    for number, entry in enumerate(_list(entries, path)):
        where = f"{path}[{number}]"
        found = _object(entry, where, ("key", "claim", "valueExpression"))
        _no_expression(found, where, "valueExpression")
        key = _text(found, "key", where)
        domain, slash, name = key.partition("/")
        reserved = any(domain == each or domain.endswith(f".{each}") for each in _RESERVED_DOMAINS)
        if key != key.lower() or not (slash and "." in domain and name) or reserved:
            raise ConfigurationError(f"{where}.key: must be a path of a domain of yours, in lower case")
        extra.append((key, _text(found, "claim", where)))
    return tuple(extra)


def _required(entries: Any, path: str) -> tuple[tuple[str, str], ...]:
    required = []
    for number, entry in enumerate(_list(entries, path)):
        where = f"{path}[{number}]"
        found = _object(entry, where, ("claim", "requiredValue", "expression", "message"))
        _no_expression(found, where, "expression")
        required.append((_text(found, "claim", where), str(found.get("requiredValue") or "")))
    return tuple(required)


def _anonymous(entry: Any) -> tuple[bool, tuple[str, ...] | None]:
    if entry is None:
        return True, None
    found = _object(entry, "anonymous", ("enabled", "conditions"))
    if not isinstance(found.get("enabled"), bool):
        raise ConfigurationError("anonymous.enabled: must be true or false")
    conditions = _list(found.get("conditions"), "anonymous.conditions")
    if conditions and not found["enabled"]:
        raise ConfigurationError("anonymous.conditions: not where anonymous requests are refused")
    paths = []
    for number, condition in enumerate(conditions):
        where = f"anonymous.conditions[{number}]"
        paths.append(_text(_object(condition, where, ("path",)), "path", where))
    return found["enabled"], tuple(paths) if conditions else None


def _no_expression(found: Object, path: str, name: str) -> None:
    if found.get(name):
        raise _expression(f"{path}.{name}")


def _expression(path: str) -> ConfigurationError:
    return ConfigurationError(f"{path}: CEL expressions are not supported; use claim, prefix and requiredValue")


def _object(value: Any, path: str, known: Collection[str]) -> Object:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{path}: must be an object")
    unknown = [str(key) for key in value if key not in known]
    if unknown:
        raise ConfigurationError(f"{path}.{unknown[0]}: no such field")
    return value


def _list(value: Any, path: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise ConfigurationError(f"{path}: must be a list")
    return value or []


def _text(found: Object, name: str, path: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{path}.{name}: must be given")
    return value


def _https(url: Any, path: str) -> str:
    parts = urlsplit(url if isinstance(url, str) else "")
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.fragment or parts.query:
        raise ConfigurationError(f"{path}: must be a URL that begins with https://, without user, query and fragment")
    return str(url)
