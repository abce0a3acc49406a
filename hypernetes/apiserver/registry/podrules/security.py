"""Security contexts of pods and containers, and what each operating system knows of them."""

import re
from collections.abc import Iterator
from typing import Any

from hypernetes.apiserver import validation
from hypernetes.apiserver.registry import paths
from hypernetes.apiserver.validation import Causes

Object = dict[str, Any]

_MAX_ID = 2**31 - 1
_FS_GROUP_POLICIES = ("Always", "OnRootMismatch")
_GROUPS_POLICIES = ("Merge", "Strict")
_SELINUX_POLICIES = ("MountOption", "Recursive")
_PROC_MOUNTS = ("Default", "Unmasked")
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_PROFILE_PATH_MAX = 4095  # PATH_MAX less its end
_SYSCTL = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?\Z")
_SYSCTL_MAX = 253
_IPC_SYSCTLS, _NET_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."), ("net.",)
_OPERATING_SYSTEMS = ("linux", "windows")
_CREDENTIAL_SPEC_MAX_BYTES, _WINDOWS_USER_MAX, _WINDOWS_DOMAIN_MAX = 64 * 1024, 104, 256

# What a Windows pod may not say, of itself and of its containers.
_NOT_WINDOWS_POD = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "fsGroup", "fsGroupChangePolicy", "sysctls", "runAsUser",
    "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy", "seLinuxChangePolicy",
)  # fmt: skip
_NOT_WINDOWS_SPEC = ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace")
_NOT_WINDOWS_CONTAINER = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
    "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip


def validate(context: Object, host_users: bool, path: str) -> Causes:
    """Of a container."""
    causes: Causes = []
    for name in ("runAsUser", "runAsGroup"):
        if name in context:
            causes += _identity(context[name], f"{path}.{name}")
    mount = context.get("procMount")
    if mount is not None:
        if host_users and mount == "Unmasked":
            causes += validation.invalid(f"{path}.procMount", mount, "`hostUsers` must be false to use `Unmasked`")
        if mount not in _PROC_MOUNTS:
            causes += validation.not_supported(f"{path}.procMount", mount, _PROC_MOUNTS)
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            causes += validation.invalid(path, "", why)
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            causes += validation.invalid(path, "", why)
    return causes + _profiles(context, path)


def validate_pod(spec: Object, path: str) -> Causes:
    """Of a pod: its securityContext, and what of its spec upstream counts among that."""
    context, at = spec.get("securityContext") or {}, f"{path}.securityContext"
    causes: Causes = []
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        causes += validation.invalid(f"{at}.shareProcessNamespace", True, why)
    if spec.get("hostUsers") is False:
        for name, called in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
            if spec.get(name):
                causes += validation.forbidden(f"{path}.{called}", "when `pod.Spec.HostUsers` is false")
    if not context:
        return causes
    for name in ("fsGroup", "runAsUser", "runAsGroup"):
        if name in context:
            causes += _identity(context[name], f"{at}.{name}")
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        causes += _identity(group, f"{at}.supplementalGroups[{index}]")
    if "sysctls" in context:
        causes += _sysctls(context["sysctls"], spec, f"{at}.sysctls")
    for name, choices in (
        ("fsGroupChangePolicy", _FS_GROUP_POLICIES), ("supplementalGroupsPolicy", _GROUPS_POLICIES),
        ("seLinuxChangePolicy", _SELINUX_POLICIES),
    ):  # fmt: skip
        if name in context and context[name] not in choices:
            causes += validation.not_supported(f"{at}.{name}", context[name], choices)
    return causes + _profiles(context, at)


def _identity(number: int, path: str) -> Causes:
    if 0 <= number <= _MAX_ID:
        return []
    return validation.invalid(path, number, f"must be between 0 and {_MAX_ID}, inclusive")


def _profiles(context: Object, path: str) -> Causes:
    causes: Causes = []
    if "seccompProfile" in context:
        causes += _seccomp(context["seccompProfile"], f"{path}.seccompProfile")
    if "windowsOptions" in context:
        causes += _windows_options(context["windowsOptions"], f"{path}.windowsOptions")
    if "appArmorProfile" in context:
        causes += apparmor(context["appArmorProfile"], f"{path}.appArmorProfile")
    return causes


def _seccomp(profile: Object, path: str) -> Causes:
    kind, file = profile.get("type"), profile.get("localhostProfile")
    causes = validation.one_of(kind, _PROFILES, f"{path}.type")
    at = f"{path}.localhostProfile"
    if kind == "Localhost":
        causes += paths.descending(file, at) if file is not None else validation.required(at, "for type Localhost")
    elif file is not None:
        causes += validation.invalid(at, file, "can only be set when seccomp type is Localhost")
    return causes


def apparmor(profile: Object, path: str) -> Causes:
    kind, name = profile.get("type"), profile.get("localhostProfile")
    at = f"{path}.localhostProfile"
    if kind not in _PROFILES:
        return validation.one_of(kind, _PROFILES, f"{path}.type")
    if kind != "Localhost":
        why = "can only be set when AppArmor type is Localhost"
        return [] if name is None else validation.invalid(at, name, why)
    causes: Causes = []
    if name is None or name == "":
        return validation.required(at, "must be set when AppArmor type is Localhost")
    if name.strip() != name:
        causes += validation.invalid(at, name, "must not be padded with whitespace")
    if len(name) > _PROFILE_PATH_MAX:
        causes += validation.too_long(at, _PROFILE_PATH_MAX)
    return causes


def _sysctls(sysctls: Any, spec: Object, path: str) -> Causes:
    causes: Causes = []
    names: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        name, at = sysctl.get("name") or "", f"{path}[{index}].name"
        if not name:
            causes += validation.required(at)
        elif len(name) > _SYSCTL_MAX or not _SYSCTL.match(name):
            why = f"must have at most {_SYSCTL_MAX} characters and consist of parts joined by '.' or '/'"
            causes += validation.invalid(at, name, why)
        elif name in names:
            causes += validation.duplicate(at, name)
        names.add(name)
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith(_NET_SYSCTLS):
            causes += validation.invalid(at, name, "may not be specified when 'hostNetwork' is true")
        elif spec.get("hostIPC") and dotted.startswith(_IPC_SYSCTLS):
            causes += validation.invalid(at, name, "may not be specified when 'hostIPC' is true")
    return causes


def _windows_options(options: Object, path: str) -> Causes:
    causes: Causes = []
    name, spec, user = (options.get(each) for each in ("gmsaCredentialSpecName", "gmsaCredentialSpec", "runAsUserName"))
    if name is not None:
        causes += validation.dns_subdomain(name, f"{path}.gmsaCredentialSpecName")
    if spec is not None:
        at = f"{path}.gmsaCredentialSpec"
        if not spec:
            causes += validation.invalid(at, spec, "gmsaCredentialSpec cannot be an empty string")
        elif len(spec.encode()) > _CREDENTIAL_SPEC_MAX_BYTES:
            causes += validation.invalid(at, "", f"size must be under {_CREDENTIAL_SPEC_MAX_BYTES // 1024} KiB")
    return causes if user is None else causes + _windows_user(user, f"{path}.runAsUserName")


def _windows_user(user: str, path: str) -> Causes:
    """`DOMAIN\\\\user` or `user`."""
    if not user:
        return validation.invalid(path, user, "runAsUserName cannot be an empty string")
    if any(ord(character) < 32 or ord(character) == 127 for character in user):
        return validation.invalid(path, user, "runAsUserName cannot contain control characters")
    domain, slash, name = user.rpartition("\\")
    if "\\" in domain or (slash and not domain):
        return validation.invalid(path, user, "must have at most one backslash, after a domain")
    causes: Causes = []
    if len(domain) >= _WINDOWS_DOMAIN_MAX:
        causes += validation.invalid(path, user, f"the domain must be under {_WINDOWS_DOMAIN_MAX} characters")
    if not name or len(name) > _WINDOWS_USER_MAX:
        causes += validation.invalid(path, user, f"the user must have 1 to {_WINDOWS_USER_MAX} characters")
    if re.search(r'["/:;|=,+*?<>@\[\]]', name) or not name.strip(" ."):
        causes += validation.invalid(path, user, 'the user cannot contain any of "/:;|=,+*?<>@[] or only dots')
    return causes


def validate_system(spec: Object, path: str) -> Causes:
    """spec.os, and what doesn't go with it."""
    system = spec.get("os")
    if system is None:
        return []
    name = system.get("name") or ""
    if name not in _OPERATING_SYSTEMS:
        if not name:
            return validation.required(f"{path}.os.name", "cannot be empty")
        return validation.not_supported(f"{path}.os", name, _OPERATING_SYSTEMS)
    context, at = spec.get("securityContext") or {}, f"{path}.securityContext"
    if name == "linux":
        found = [
            f"{where}.windowsOptions"
            for where, each in [(at, context), *_contexts(spec, path)]
            if "windowsOptions" in each
        ]
        return [cause for field in found for cause in validation.forbidden(field, "cannot be set for a linux pod")]
    found = [f"{at}.{field}" for field in _NOT_WINDOWS_POD if field in context]
    found += [f"{path}.{field}" for field in _NOT_WINDOWS_SPEC if field in spec]
    for where, each in _contexts(spec, path):
        found += [f"{where}.{field}" for field in _NOT_WINDOWS_CONTAINER if field in each]
    return [cause for field in found for cause in validation.forbidden(field, "cannot be set for a windows pod")]


def _contexts(spec: Object, path: str) -> Iterator[tuple[str, Object]]:
    """The security contexts of all containers, each with the path of its field."""
    for part in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(part) or ()):
            if container.get("securityContext"):
                yield f"{path}.{part}[{index}].securityContext", container["securityContext"]
