"""What the machine is told of a container: its spec and its image's configuration put together. Pure."""

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from hypernetes.api.models.core_v1 import Container, Pod
from hypernetes.nodeagent import environment, sizing
from hypernetes.nodeagent.environment import ConfigError
from hypernetes.nodeagent.images.store import Image
from hypernetes.nodeagent.runtime.base import ContainerSpec, Mount, Propagation
from hypernetes.nodeagent.runtime.messages import capability_names
from hypernetes.nodeagent.seccomp import Profiles

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_MESSAGE_PATH = "/dev/termination-log"
_MAX_ID = 2**31 - 1
_NUMBER = re.compile(r"[0-9]+\Z")


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def container_spec(
    pod: Pod, container: Container, image: Image, attempt_id: str, variables: Mapping[str, str],
    files: Mapping[str, bytes], hostname: str, profiles: Profiles, processes_of: str = "",
) -> ContainerSpec:  # fmt: skip
    """`processes_of` is the attempt whose processes the container sees. Raises ConfigError (reason
    CreateContainerConfigError)."""
    user = user_of(pod, container, image)
    context = container.security_context
    capabilities = context.capabilities if context else None
    added = _capabilities(capabilities.add) if capabilities else ()
    dropped = _capabilities(capabilities.drop) if capabilities else ()
    env = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname, **image.config.environment, **variables}
    if container.tty:
        env.setdefault("TERM", "xterm")
    env.setdefault("HOME", home_of(image.passwd, user.uid))
    return ContainerSpec(
        id=attempt_id,
        image_disk=disk_id(image.digest),
        argv=argv(container, image, variables),
        env=env,
        cwd=container.working_dir or image.config.working_dir or "/",
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        tty=bool(container.tty),
        stdin=bool(container.stdin),
        stdin_once=bool(container.stdin_once),
        read_only_root=bool(context and context.read_only_root_filesystem),
        privileged=bool(context and context.privileged),
        add_capabilities=added,
        drop_capabilities=dropped,
        no_new_privileges=bool(context and context.allow_privilege_escalation is False),
        unmasked_proc=bool(context and context.proc_mount == "Unmasked"),
        seccomp=profiles.program(pod, container, capability_names(added, dropped)),
        message_path=container.termination_message_path or DEFAULT_MESSAGE_PATH,
        processes_of=processes_of,
        mounts=mounts(container, variables),
        files=files,
        memory_bytes=sizing.memory_limit(container),
        cpu_millis=sizing.cpu_limit(container),
    )


def disk_id(digest: str) -> str:
    """The name of an image's disk in a machine: short, since hypervisors bound names."""
    return f"image-{digest.removeprefix('sha256:')[:16]}"


def argv(container: Container, image: Image, variables: Mapping[str, str]) -> tuple[str, ...]:
    """`command` replaces the entry point and, with it, the image's own arguments."""
    if container.command:
        words = [*container.command, *container.args]
    else:
        words = [*image.config.entrypoint, *(container.args or image.config.command)]
    if not words:
        raise ConfigError("no command specified: neither the pod nor the image names one")
    return tuple(environment.expand(word, variables) for word in words)


def mounts(container: Container, variables: Mapping[str, str]) -> tuple[Mount, ...]:
    """Shorter paths first, so that a mount inside another comes after it."""
    result = []
    for mount in container.volume_mounts:
        sub_path = mount.sub_path or ""
        if mount.sub_path_expr:
            sub_path = environment.expand(mount.sub_path_expr, variables)
        if sub_path.startswith("/") or ".." in sub_path.split("/"):
            raise ConfigError(f"mount {mount.mount_path}: the subPath {sub_path!r} leaves its volume")
        result.append(
            Mount(
                mount.name,
                mount.mount_path,
                bool(mount.read_only),
                sub_path,
                recursive=mount.recursive_read_only in ("Enabled", "IfPossible"),
                propagation=Propagation(mount.mount_propagation or "None"),
            )
        )
    result += [Mount(device.name, device.device_path, block=True) for device in container.volume_devices]
    return tuple(sorted(result, key=lambda each: (each.target.count("/"), each.target)))


def user_of(pod: Pod, container: Container, image: Image) -> User:
    """By securityContext, or else by the image's USER, which may be a name of its /etc/passwd."""
    own, shared = container.security_context, pod.spec.security_context
    uid = _first(own.run_as_user if own else None, shared.run_as_user if shared else None)
    gid = _first(own.run_as_group if own else None, shared.run_as_group if shared else None)
    groups = list(shared.supplemental_groups) if shared else []
    if shared and shared.fs_group is not None:
        groups.append(shared.fs_group)
    image_uid, image_gid = image_user(image)
    if uid is None:
        uid = image_uid
        gid = image_gid if gid is None else gid
    if gid is None:
        gid = _primary_group(image.passwd, uid)
    non_root = _first(own.run_as_non_root if own else None, shared.run_as_non_root if shared else None)
    if non_root and uid == 0:
        raise ConfigError("container has runAsNonRoot and image will run as root")
    if not (0 <= uid <= _MAX_ID and 0 <= gid <= _MAX_ID):
        raise ConfigError(f"user {uid}:{gid} is out of range")
    if shared is None or shared.supplemental_groups_policy != "Strict":
        groups += _groups(image.group, _name(image.passwd, uid))
    return User(uid, gid, tuple(sorted({*groups} - {gid})))


def image_user(image: Image) -> tuple[int, int]:
    """(uid, gid) of USER: `name`, `uid`, each with `:group`."""
    user, _, group = image.config.user.partition(":")
    if not user:
        uid, gid = 0, 0
    elif _NUMBER.match(user):
        uid = int(user)
        gid = _primary_group(image.passwd, uid)
    else:
        entry = next((fields for fields in _entries(image.passwd, 4) if fields[0] == user), None)
        if entry is None:
            raise ConfigError(f"the image runs as user {user!r}, which its /etc/passwd doesn't have")
        uid, gid = int(entry[2]), int(entry[3])
    if group and _NUMBER.match(group):
        gid = int(group)
    elif group:
        found = next((fields for fields in _entries(image.group, 3) if fields[0] == group), None)
        if found is None:
            raise ConfigError(f"the image runs as group {group!r}, which its /etc/group doesn't have")
        gid = int(found[2])
    return uid, gid


def home_of(passwd: str, uid: int) -> str:
    entry = next((fields for fields in _entries(passwd, 6) if int(fields[2]) == uid), None)
    return (entry[5] if entry else "") or "/"


def stop_signal(container: Container, image_signal: str) -> int:
    """SIGTERM, unless the pod or the image says otherwise."""
    text = (container.lifecycle.stop_signal if container.lifecycle else None) or image_signal
    if not text:
        return signal.SIGTERM
    if _NUMBER.match(text):
        return int(text) if 0 < int(text) < signal.NSIG else signal.SIGTERM
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    return signal.Signals[name] if name in signal.Signals.__members__ else signal.SIGTERM


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _capabilities(names: list[str]) -> tuple[str, ...]:
    return tuple(name.upper().removeprefix("CAP_") for name in names)


def _entries(text: str, fields: int) -> list[list[str]]:
    """Lines of passwd or group that have a number where one belongs; in an image's file anything may be."""
    rows = (line.split(":") for line in text.splitlines())
    return [
        row for row in rows if len(row) >= fields and _NUMBER.match(row[2]) and (fields < 4 or _NUMBER.match(row[3]))
    ]


def _primary_group(passwd: str, uid: int) -> int:
    return next((int(fields[3]) for fields in _entries(passwd, 4) if int(fields[2]) == uid), 0)


def _name(passwd: str, uid: int) -> str | None:
    return next((fields[0] for fields in _entries(passwd, 4) if int(fields[2]) == uid), None)


def _groups(group: str, user: str | None) -> set[int]:
    if user is None:
        return set()
    return {int(fields[2]) for fields in _entries(group, 4 - 1) if len(fields) > 3 and user in fields[3].split(",")}
