"""Which checks hold at which level and version, and running them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypernetes.apiserver.podsecurity import baseline, restricted
from hypernetes.apiserver.podsecurity.levels import PRIVILEGED, RESTRICTED, LevelVersion
from hypernetes.apiserver.podsecurity.violation import Violation

Object = dict[str, Any]
Check = Callable[[Object, Object], Violation | None]  # from a pod's metadata and its spec


@dataclass(frozen=True, slots=True)
class Rule:
    """A check by the versions (minor) from which on each of its forms holds, oldest first."""

    name: str
    forms: tuple[tuple[int, Check], ...]
    replaces: str = ""  # the baseline rule that it includes

    def at(self, minor: int) -> Check | None:
        held = [check for since, check in self.forms if since <= minor]
        return held[-1] if held else None


# In the order of upstream's names, which is the order in which it lists what is wrong.
BASELINE_RULES = (
    Rule("appArmorProfile", ((0, baseline.apparmor_profile),)),
    Rule("capabilities_baseline", ((0, baseline.capabilities),)),
    Rule("hostNamespaces", ((0, baseline.host_namespaces),)),
    Rule("hostPathVolumes", ((0, baseline.host_path_volumes),)),
    Rule("hostPorts", ((0, baseline.host_ports),)),
    Rule("hostProbesAndHostLifecycle", ((34, baseline.probe_hosts),)),
    Rule("privileged", ((0, baseline.privileged),)),
    Rule("procMount", ((0, baseline.proc_mount), (35, baseline.in_host_users(baseline.proc_mount)))),
    Rule("seLinuxOptions", ((0, baseline.selinux_options(0)), (31, baseline.selinux_options(31)))),
    Rule("seccompProfile_baseline", ((0, baseline.seccomp_annotations), (19, baseline.seccomp_profile))),
    Rule("sysctls", tuple((minor, baseline.sysctls(minor)) for minor in baseline.SAFE_SYSCTLS)),
    Rule("windowsHostProcess", ((0, baseline.windows_host_process),)),
)
RESTRICTED_RULES = (
    Rule(
        "allowPrivilegeEscalation",
        ((8, restricted.privilege_escalation), (25, restricted.on_linux(restricted.privilege_escalation))),
    ),
    Rule(
        "capabilities_restricted",
        ((22, restricted.capabilities), (25, restricted.on_linux(restricted.capabilities))),
        "capabilities_baseline",
    ),
    Rule("procMount_restricted", ((35, baseline.proc_mount),), "procMount"),
    Rule("restrictedVolumes", ((0, restricted.volumes),), "hostPathVolumes"),
    Rule("runAsNonRoot", ((0, restricted.run_as_non_root), (35, baseline.in_host_users(restricted.run_as_non_root)))),
    Rule("runAsUser", ((23, restricted.run_as_user), (35, baseline.in_host_users(restricted.run_as_user)))),
    Rule(
        "seccompProfile_restricted",
        ((19, restricted.seccomp_profile), (25, restricted.on_linux(restricted.seccomp_profile))),
        "seccompProfile_baseline",
    ),
)  # fmt: skip


def violations(wanted: LevelVersion, metadata: Object, spec: Object) -> list[Violation]:
    """What a pod does that the level doesn't allow."""
    if wanted.level == PRIVILEGED:
        return []
    found = (check(metadata, spec) for check in _checks(wanted.level, wanted.minor))
    return [violation for violation in found if violation is not None]


@cache
def _checks(level: str, minor: int) -> tuple[Check, ...]:
    return tuple(_in_force(level, minor))


def _in_force(level: str, minor: int) -> Iterator[Check]:
    strict = [rule for rule in RESTRICTED_RULES if level == RESTRICTED and rule.at(minor) is not None]
    replaced = {rule.replaces for rule in strict}
    rules = [rule for rule in BASELINE_RULES if rule.name not in replaced] + strict
    for rule in rules:
        check = rule.at(minor)
        if check is not None:
            yield check
