"""Volumes whose files are keys of Secrets and ConfigMaps, fields of the pod, tokens and certificates."""

from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import paths
from hypernetes.apiserver.registry.podrules import environment
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_MAX_MODE = 0o777
_TOKEN_SECONDS_MIN, _TOKEN_SECONDS_MAX = 600, 2**32
_SOURCES = ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate")
_KEY_TYPES = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")


def secret(source: Object, path: str) -> Causes:
    causes = [] if source.get("secretName") else validation.required(f"{path}.secretName")
    return causes + _mode(source, "defaultMode", path) + _items(source.get("items") or (), f"{path}.items")


def config_map(source: Object, path: str) -> Causes:
    causes = [] if source.get("name") else validation.required(f"{path}.name")
    return causes + _mode(source, "defaultMode", path) + _items(source.get("items") or (), f"{path}.items")


def downward(source: Object, path: str) -> Causes:
    """Causes in its files name the source, as upstream's do."""
    causes = _mode(source, "defaultMode", path)
    for file in source.get("items") or ():
        causes += _downward_file(file, path)
    return causes


def _mode(source: Object, name: str, path: str) -> Causes:
    mode = source.get(name)
    if mode is None or 0 <= mode <= _MAX_MODE:
        return []
    why = "must be a number between 0 and 0777 (octal), both inclusive"
    return validation.invalid(f"{path}.{name}", mode, why)


def _items(items: Any, path: str) -> Causes:
    causes: Causes = []
    for index, item in enumerate(items):
        at = f"{path}[{index}]"
        for name in ("key", "path"):
            if not item.get(name):
                causes += validation.required(f"{at}.{name}")
        causes += paths.local(item.get("path") or "", f"{at}.path") + _mode(item, "mode", at)
    return causes


def _downward_file(file: Object, path: str) -> Causes:
    place = file.get("path") or ""
    causes = [] if place else validation.required(f"{path}.path")
    causes += paths.local(place, f"{path}.path")
    field, resource = file.get("fieldRef"), file.get("resourceFieldRef")
    if field is not None:
        causes += environment.field_reference(field, environment.FILE_FIELDS, f"{path}.fieldRef")
        if resource is not None:
            why = "fieldRef and resourceFieldRef can not be specified simultaneously"
            causes += validation.invalid(path, "resource", why)
    elif resource is not None:
        causes += environment.resource_reference(resource, f"{path}.resourceFieldRef", in_volume=True)
    else:
        causes += validation.required(path, "one of fieldRef and resourceFieldRef is required")
    return causes + _mode(file, "mode", path)


def projected(source: Object, path: str) -> Causes:
    """Several sources in one volume; no two of them may make the same file."""
    causes = _mode(source, "defaultMode", path)
    seen: set[str] = set()
    for index, part in enumerate(source.get("sources") or ()):
        at = f"{path}.sources[{index}]"
        found = [kind for kind in _SOURCES if kind in part]
        for kind in found:
            wrong, files = _part(kind, part[kind], f"{at}.{kind}", path)
            causes += wrong
            for file in files:
                if file in seen:
                    causes += validation.invalid(path, file, "conflicting duplicate paths")
                seen.add(file)
        if len(found) > 1:
            causes += validation.forbidden(at, "may not specify more than 1 volume type per source")
    return causes


def _part(kind: str, part: Object, path: str, volume: str) -> tuple[Causes, list[str]]:
    """What is wrong with one source, and which files it makes as far as it says."""
    if kind in ("secret", "configMap"):
        items = part.get("items") or ()
        causes = [] if part.get("name") else validation.required(f"{path}.name")
        return causes + _items(items, f"{path}.items"), _places(items)
    if kind == "downwardAPI":
        items = part.get("items") or ()
        return [cause for file in items for cause in _downward_file(file, path)], _places(items)
    if kind == "serviceAccountToken":
        return _token(part, path, volume), []
    place = part.get("path") or ""
    if kind == "clusterTrustBundle":
        causes = [] if place else validation.required(f"{path}.path")
        return _trust_bundle(part, path) + causes + paths.local(place, f"{path}.path"), [place]
    return _certificate(part, path)


def _places(items: Any) -> list[str]:
    return [item["path"] for item in items if item.get("path")]


def _token(part: Object, path: str, volume: str) -> Causes:
    seconds, place = part.get("expirationSeconds"), part.get("path") or ""
    causes: Causes = []
    if seconds is not None and seconds < _TOKEN_SECONDS_MIN:
        why = "may not specify a duration less than 10 minutes"
        causes += validation.invalid(f"{path}.expirationSeconds", seconds, why)
    elif seconds is not None and seconds > _TOKEN_SECONDS_MAX:
        why = "may not specify a duration larger than 2^32 seconds"
        causes += validation.invalid(f"{path}.expirationSeconds", seconds, why)
    return causes + (paths.local(place, f"{volume}.path") if place else validation.required(f"{volume}.path"))


def _trust_bundle(part: Object, path: str) -> Causes:
    name, signer = part.get("name"), part.get("signerName")
    if name is not None and signer is not None:
        return validation.invalid(path, "", "only one of name and signerName may be used")
    if name is not None:
        causes = validation.dns_subdomain(name.rpartition(":")[2], f"{path}.name")
        if part.get("labelSelector") is not None:
            why = "labelSelector must be unset if name is specified"
            causes += validation.invalid(f"{path}.labelSelector", "", why)
        return causes
    if signer is not None:
        causes = _signer(signer, f"{path}.signerName")
        return causes + validation.label_selector(part.get("labelSelector"), f"{path}.labelSelector")
    return validation.required(path, "either name or signerName must be specified")


def _signer(name: str, path: str) -> Causes:
    domain, slash, rest = name.partition("/")
    if not name:
        return validation.required(path, "must be a valid signer name")
    if not slash or not rest:
        return validation.invalid(
            path, name, "must be a fully qualified domain and path of the form 'example.com/name'"
        )
    return validation.dns_subdomain(domain, path)


def _certificate(part: Object, path: str) -> tuple[Causes, list[str]]:
    causes = _signer(part.get("signerName") or "", f"{path}.signerName")
    causes += validation.one_of(part.get("keyType"), _KEY_TYPES, f"{path}.keyType")
    places = {
        name: part[name] for name in ("credentialBundlePath", "keyPath", "certificateChainPath") if part.get(name)
    }
    if not places:
        causes += validation.required(path, "must specify credentialBundlePath, or keyPath and certificateChainPath")
    for name, place in places.items():
        causes += paths.local(place, f"{path}.{name}")
    return causes, list(places.values())
