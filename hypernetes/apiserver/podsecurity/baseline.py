"""The checks of level baseline: what would let a pod reach out of its own."""

from collections.abc import Callable
from typing import Any

from hypernetes.apiserver.podsecurity.violation import (
    Violation,
    containers,
    named,
    offending,
    plural,
    quoted,
    security,
    setters,
)

Object = dict[str, Any]
Check = Callable[[Object, Object], Violation | None]

_HARMLESS_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
_SELINUX_TYPES = {
    0: frozenset({"", "container_t", "container_init_t", "container_kvm_t"}),
    31: frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}),
}
_SYSCTLS_SINCE = {
    0: ("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start"),
    27: ("net.ipv4.ip_local_reserved_ports",),
    29: ("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
         "net.ipv4.tcp_keepalive_probes"),
    32: ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
}  # fmt: skip
SAFE_SYSCTLS = {
    minor: frozenset(name for since, names in _SYSCTLS_SINCE.items() if since <= minor for name in names)
    for minor in _SYSCTLS_SINCE
}
_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD, _SECCOMP_CONTAINER = (
    "seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/",
)  # fmt: skip


def apparmor_profile(metadata: Object, spec: Object) -> Violation | None:
    def bad(holder: Object) -> bool:
        profile = security(holder).get("appArmorProfile")
        return profile is not None and profile.get("type") not in ("RuntimeDefault", "Localhost")

    names = offending(spec, bad)
    values = {security(each)["appArmorProfile"].get("type", "") for each in (spec, *containers(spec)) if bad(each)}
    annotations = sorted(
        f'{name}="{value}"'
        for name, value in (metadata.get("annotations") or {}).items()
        if name.startswith(_APPARMOR_ANNOTATION)
        and value not in ("", "runtime/default") and not value.startswith("localhost/")
    )  # fmt: skip
    who = [each for each in (setters(bad(spec), names),) if each]
    if annotations:
        who.append(plural("annotation", annotations))
    if not who:
        return None
    listed = [*sorted(values), *annotations]
    detail = f"{' and '.join(who)} must not set AppArmor profile type to {quoted(listed)}"
    return Violation(f"forbidden AppArmor {plural('profile', listed)}", detail)


def capabilities(_: Object, spec: Object) -> Violation | None:
    def added(container: Object) -> set[str]:
        given = (security(container).get("capabilities") or {}).get("add") or ()
        return set(given) - _HARMLESS_CAPABILITIES

    names = offending(spec, lambda container: bool(added(container)))
    if not names:
        return None
    found = sorted(set().union(*(added(container) for container in containers(spec))))
    detail = f"{named('container', names)} must not include {quoted(found)} in securityContext.capabilities.add"
    return Violation("non-default capabilities", detail)


def host_namespaces(_: Object, spec: Object) -> Violation | None:
    shared = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    return Violation("host namespaces", ", ".join(shared)) if shared else None


def host_path_volumes(_: Object, spec: Object) -> Violation | None:
    names = [volume["name"] for volume in spec.get("volumes") or () if volume.get("hostPath") is not None]
    return Violation("hostPath volumes", named("volume", names)) if names else None


def host_ports(_: Object, spec: Object) -> Violation | None:
    def ports(container: Object) -> set[int]:
        return {port["hostPort"] for port in container.get("ports") or () if port.get("hostPort")}

    names = offending(spec, lambda container: bool(ports(container)))
    if not names:
        return None
    found = sorted(str(port) for port in set().union(*(ports(container) for container in containers(spec))))
    verb = "uses" if len(names) == 1 else "use"
    return Violation("hostPort", f"{named('container', names)} {verb} {plural('hostPort', found)} {', '.join(found)}")


def probe_hosts(_: Object, spec: Object) -> Violation | None:
    def hosts(container: Object) -> set[str]:
        lifecycle = container.get("lifecycle") or {}
        handlers = [container.get(name) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
        handlers += [lifecycle.get(name) for name in ("postStart", "preStop")]
        actions = [(each or {}).get(name) or {} for each in handlers for name in ("httpGet", "tcpSocket")]
        return {action["host"] for action in actions if action.get("host")}

    names = sorted(set(offending(spec, lambda container: bool(hosts(container)))))
    if not names:
        return None
    found = sorted(set().union(*(hosts(container) for container in containers(spec))))
    verb = "uses" if len(names) == 1 else "use"
    what = plural("probe or lifecycle host", found)
    return Violation("probe or lifecycle host", f"{named('container', names)} {verb} {what} {quoted(found)}")


def privileged(_: Object, spec: Object) -> Violation | None:
    names = offending(spec, lambda container: bool(security(container).get("privileged")))
    detail = f"{named('container', names)} must not set securityContext.privileged=true"
    return Violation("privileged", detail) if names else None


def proc_mount(_: Object, spec: Object) -> Violation | None:
    def mount(container: Object) -> str:
        return security(container).get("procMount") or "Default"

    names = offending(spec, lambda container: mount(container) != "Default")
    found = sorted({mount(container) for container in containers(spec)} - {"Default"})
    detail = f"{named('container', names)} must not set securityContext.procMount to {quoted(found)}"
    return Violation("procMount", detail) if names else None


def selinux_options(minor: int) -> Check:
    allowed = _SELINUX_TYPES[minor]

    def check(_: Object, spec: Object) -> Violation | None:
        def options(holder: Object) -> Object:
            return security(holder).get("seLinuxOptions") or {}

        def bad(holder: Object) -> bool:
            given = options(holder)
            return bool(given.get("user") or given.get("role")) or (given.get("type") or "") not in allowed

        names = offending(spec, bad)
        if not names and not bad(spec):
            return None
        given = [options(each) for each in (spec, *containers(spec))]
        types = sorted({each.get("type") or "" for each in given} - allowed)
        wrong = [f"{plural('type', types)} {quoted(types)}"] if types else []
        wrong += [f"{name} may not be set" for name in ("user", "role") if any(each.get(name) for each in given)]
        who = setters(bad(spec), names)
        return Violation("seLinuxOptions", f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(wrong)}")

    return check


def seccomp_annotations(metadata: Object, spec: Object) -> Violation | None:
    annotations = metadata.get("annotations") or {}
    looked_at = [_SECCOMP_POD, *(f"{_SECCOMP_CONTAINER}{container['name']}" for container in containers(spec))]
    found = sorted(
        f'{name}="{annotations[name]}"'
        for name in looked_at
        if name in annotations
        and annotations[name] not in ("runtime/default", "docker/default")
        and not annotations[name].startswith("localhost/")
    )
    detail = f"forbidden {plural('annotation', found)} {', '.join(found)}"
    return Violation("seccompProfile", detail) if found else None


def seccomp_profile(_: Object, spec: Object) -> Violation | None:
    names = offending(spec, unconfined)
    if not names and not unconfined(spec):
        return None
    detail = f"{setters(unconfined(spec), names)} must not set securityContext.seccompProfile.type to "
    return Violation("seccompProfile", detail + quoted(seccomp_types(spec)))


def seccomp_types(spec: Object) -> list[str]:
    """The types of the profiles that confine nothing."""
    holders = [each for each in (spec, *containers(spec)) if unconfined(each)]
    return sorted({security(each)["seccompProfile"].get("type", "") for each in holders})


def unconfined(holder: Object) -> bool:
    """Whether a pod or container has a seccomp profile that confines nothing."""
    profile = security(holder).get("seccompProfile")
    return profile is not None and profile.get("type") not in ("RuntimeDefault", "Localhost")


def sysctls(minor: int) -> Check:
    safe = SAFE_SYSCTLS[minor]

    def check(_: Object, spec: Object) -> Violation | None:
        names = [each["name"] for each in security(spec).get("sysctls") or () if each["name"] not in safe]
        return Violation("forbidden sysctls", ", ".join(names)) if names else None

    return check


def windows_host_process(_: Object, spec: Object) -> Violation | None:
    def asks(holder: Object) -> bool:
        return bool((security(holder).get("windowsOptions") or {}).get("hostProcess"))

    names = offending(spec, asks)
    if not names and not asks(spec):
        return None
    detail = f"{setters(asks(spec), names)} must not set securityContext.windowsOptions.hostProcess=true"
    return Violation("hostProcess", detail)


def in_host_users(check: Check) -> Check:
    """A check that means nothing for a pod with users of its own (hostUsers: false)."""
    return lambda metadata, spec: None if spec.get("hostUsers") is False else check(metadata, spec)
