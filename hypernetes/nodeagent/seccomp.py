"""Seccomp profiles, compiled to BPF for the guest's kernel by libseccomp.

`RuntimeDefault` is made here: everything but what reaches past a container, each call back where the container has the
capability that goes with it. `Localhost` profiles are files of the node, of the form of the OCI runtime specification
(https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#seccomp), which Kubernetes uses too.
"""

import ctypes
import errno
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import orjson

from hypernetes.api.models.core_v1 import Container, Pod, SeccompProfile
from hypernetes.nodeagent.environment import ConfigError

MAX_PROFILE_BYTES = 1 << 20

# Actions, architectures, comparisons and attributes: linux/seccomp.h, and seccomp.h of libseccomp.
_ERRNO = 0x00050000
_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_NUMBER = frozenset({"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"})
_ARCHITECTURES = {"SCMP_ARCH_X86": 0x40000003, "SCMP_ARCH_X32": 0x4000003E, "SCMP_ARCH_X86_64": 0xC000003E}
_COMPARISONS = {
    "SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5, "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}  # fmt: skip
_ATTRIBUTE_BAD_ARCHITECTURE, _ATTRIBUTE_OPTIMIZE, _BINARY_TREE = 2, 8, 2
_UNKNOWN_CALL = -1
_EXISTS = -errno.EEXIST

# Calls that none of whose uses is a container's, and those that come with a capability.
_NEVER = (
    "add_key", "keyctl", "request_key", "userfaultfd", "uselib", "ustat", "sysfs", "_sysctl", "nfsservctl", "vm86",
    "vm86old", "get_kernel_syms", "create_module", "query_module", "move_pages", "migrate_pages", "io_uring_setup",
    "io_uring_enter", "io_uring_register",
)  # fmt: skip
_BY_CAPABILITY: Mapping[str, tuple[str, ...]] = {
    "SYS_ADMIN": (
        "bpf", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount", "mount_setattr",
        "move_mount", "open_tree", "perf_event_open", "pivot_root", "quotactl", "quotactl_fd", "setdomainname",
        "sethostname", "setns", "swapoff", "swapon", "syslog", "umount", "umount2", "unshare",
    ),
    "SYS_BOOT": ("kexec_file_load", "kexec_load", "reboot"),
    "SYS_CHROOT": ("chroot",),
    "SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "SYS_PACCT": ("acct",),
    "SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev"),
    "SYS_RAWIO": ("ioperm", "iopl"),
    "SYS_TIME": ("clock_settime", "clock_settime64", "settimeofday", "stime"),
    "SYS_TTY_CONFIG": ("vhangup",),
    "SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
    "DAC_READ_SEARCH": ("open_by_handle_at",),
    "SYSLOG": ("syslog",),
    "BPF": ("bpf",),
    "PERFMON": ("perf_event_open",),
}  # fmt: skip
# Of clone(2): new namespaces of any kind. clone3(2) has its flags in memory, where a filter can't look.
_NAMESPACE_FLAGS = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)


@dataclass(frozen=True, slots=True)
class Comparison:
    argument: int
    operator: int
    value: int
    second: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    call: str
    action: int
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    default: int
    rules: tuple[Rule, ...]
    architectures: tuple[int, ...] = tuple(_ARCHITECTURES.values())


class Profiles:
    """`directory` holds the node's Localhost profiles."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def program(self, pod: Pod, container: Container, capabilities: Collection[str]) -> bytes:
        """`struct sock_filter[]`, b"" for a container without a profile. Raises ConfigError."""
        wanted = profile_of(pod, container)
        if wanted is None or wanted.type == "Unconfined":
            return b""
        if wanted.type == "RuntimeDefault":
            return _compiled(runtime_default(frozenset(capabilities)))
        name = wanted.localhost_profile or ""
        if name.startswith("/") or ".." in name.split("/") or not name:
            raise ConfigError(f"the seccomp profile {name!r} is no path below the node's profiles")
        try:
            with (self._directory / name).open("rb") as file:
                text = file.read(MAX_PROFILE_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"the node has no seccomp profile {name!r}: {error.strerror}") from error
        try:
            return _compiled(parse(text))
        except ValueError as error:
            raise ConfigError(f"the node's seccomp profile {name!r} is not valid: {error}") from error


def profile_of(pod: Pod, container: Container) -> SeccompProfile | None:
    """The container's own, or else the pod's; none for a privileged one."""
    own, shared = container.security_context, pod.spec.security_context
    if own is not None and own.privileged:
        return None
    if own is not None and own.seccomp_profile is not None:
        return own.seccomp_profile
    return shared.seccomp_profile if shared is not None else None


def runtime_default(capabilities: frozenset[str]) -> Profile:
    denied = _ERRNO | errno.EPERM
    allowed = {call for name in capabilities for call in _BY_CAPABILITY.get(name, ())}
    calls = {*_NEVER, *(call for calls in _BY_CAPABILITY.values() for call in calls)} - allowed
    rules = [Rule(call, denied) for call in sorted(calls)]
    if "SYS_ADMIN" not in capabilities:
        equal = _COMPARISONS["SCMP_CMP_MASKED_EQ"]
        rules += [Rule("clone", denied, (Comparison(0, equal, flag, flag),)) for flag in _NAMESPACE_FLAGS]
        rules.append(Rule("clone3", _ERRNO | errno.ENOSYS))
    return Profile(_ACTIONS["SCMP_ACT_ALLOW"], tuple(rules))


def parse(text: bytes) -> Profile:
    """A profile of the OCI form. Raises ValueError."""
    if len(text) > MAX_PROFILE_BYTES:
        raise ValueError(f"it has more than {MAX_PROFILE_BYTES} bytes")
    document = orjson.loads(text)
    if not isinstance(document, dict):
        raise ValueError("it is no object")
    if unknown := set(document) - {"defaultAction", "defaultErrnoRet", "architectures", "syscalls"}:
        raise ValueError(f"the field {sorted(unknown)[0]!r} is not supported")
    architectures = document.get("architectures") or ["SCMP_ARCH_X86_64"]
    if foreign := [each for each in architectures if each not in _ARCHITECTURES]:
        raise ValueError(f"the architecture {foreign[0]!r} is not supported")
    default = _action(document.get("defaultAction"), document.get("defaultErrnoRet"))
    rules = [rule for each in document.get("syscalls") or () for rule in _rules(each, default)]
    return Profile(default, tuple(rules), tuple(_ARCHITECTURES[each] for each in architectures))


def _rules(entry: Any, default: int) -> Iterator[Rule]:
    if not isinstance(entry, dict) or not isinstance(entry.get("names"), list):
        raise ValueError("a rule has no names")
    if unknown := set(entry) - {"names", "action", "errnoRet", "args", "comment"}:
        raise ValueError(f"the field {sorted(unknown)[0]!r} of a rule is not supported")
    action = _action(entry.get("action"), entry.get("errnoRet"))
    comparisons = tuple(_comparison(each) for each in entry.get("args") or ())
    if action != default:
        yield from (Rule(str(name), action, comparisons) for name in entry["names"])


def _action(name: Any, number: Any) -> int:
    if name not in _ACTIONS:
        raise ValueError(f"the action {name!r} is not supported")
    if number is not None and (not isinstance(number, int) or not 0 <= number < 4096):
        raise ValueError(f"{number!r} is no errno")
    if name in _WITH_NUMBER:
        return _ACTIONS[name] | (errno.EPERM if number is None else number)
    return _ACTIONS[name]


def _comparison(entry: Any) -> Comparison:
    try:
        index, operator = int(entry["index"]), _COMPARISONS[entry["op"]]
        made = Comparison(index, operator, int(entry["value"]), int(entry.get("valueTwo") or 0))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("an argument's comparison is not valid") from error
    if not 0 <= index < 6 or not 0 <= made.value < 1 << 64 or not 0 <= made.second < 1 << 64:
        raise ValueError("an argument's comparison is out of range")
    return made


class _ArgumentComparison(ctypes.Structure):
    _fields_ = (("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


@cache
def _library() -> ctypes.CDLL:
    """Raises OSError where libseccomp isn't installed."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_release.restype = None
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_ArgumentComparison),
    ]  # fmt: skip
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


@lru_cache(maxsize=64)
def _compiled(profile: Profile) -> bytes:
    """Raises ConfigError for rules that libseccomp refuses."""
    try:
        library = _library()
    except OSError as error:
        raise ConfigError("the node can't compile seccomp profiles: libseccomp2 is not installed") from error
    context = library.seccomp_init(profile.default)
    try:
        _fill(library, context, profile)
        with os.fdopen(os.memfd_create("seccomp", os.MFD_CLOEXEC), "rb") as file:
            _check(library.seccomp_export_bpf(context, file.fileno()), "the profile")
            file.seek(0)
            return file.read()
    finally:
        library.seccomp_release(context)


def _fill(library: ctypes.CDLL, context: int, profile: Profile) -> None:
    for architecture in profile.architectures:
        result = library.seccomp_arch_add(context, architecture)
        if result != _EXISTS:
            _check(result, f"the architecture {architecture:#x}")
    _check(library.seccomp_attr_set(context, _ATTRIBUTE_BAD_ARCHITECTURE, _ERRNO | errno.ENOSYS), "an attribute")
    _check(library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, _BINARY_TREE), "an attribute")
    for rule in profile.rules:
        number = library.seccomp_syscall_resolve_name(rule.call.encode())
        if number == _UNKNOWN_CALL:
            continue  # of a newer kernel or another architecture, as every runtime does
        compared = [_ArgumentComparison(each.argument, each.operator, each.value, each.second)
                    for each in rule.comparisons]  # fmt: skip
        array = (_ArgumentComparison * max(len(compared), 1))(*compared)
        _check(
            library.seccomp_rule_add_array(context, rule.action, number, len(compared), array), f"a rule of {rule.call}"
        )


def _check(result: int, what: str) -> None:
    if result < 0:
        raise ConfigError(f"the seccomp profile can't be compiled: {what}: {os.strerror(-result)}")
