"""What a pod asks for that this node doesn't do: said in an Event, and the pod waits, rather than run without it.

A pod is a machine of its own on its tenant's network, so most of what names the host has another meaning here or none;
the text names what to use instead.
"""

from collections.abc import Iterator

from hypernetes.api.models.core_v1 import Container, Pod, SecurityContext
from hypernetes.nodeagent.containers import all_of


class Refused(Exception):
    """The pod can't run as it is written."""


def check(pod: Pod) -> None:
    """Raises Refused, with everything that stands in the way."""
    found = [*_of_pod(pod), *(text for container in all_of(pod) for text in _of_container(container))]
    if found:
        raise Refused("; ".join(found))


def _of_pod(pod: Pod) -> Iterator[str]:
    spec = pod.spec
    if spec.host_network:
        yield "hostNetwork: a pod is a machine on its tenant's network; publish ports with a Service"
    if spec.host_pid:
        yield "hostPID: a pod's machine has no processes but its own; shareProcessNamespace joins its containers"
    if spec.host_ipc:
        yield "hostIPC: a pod's machine has its own IPC, which all its containers share"
    for volume in spec.volumes:
        if volume.host_path is not None:
            yield f"volume {volume.name}: hostPath: nothing of the host is in a pod's machine; use a claim or emptyDir"
    if spec.ephemeral_containers:
        yield "ephemeral containers are not supported yet; use `kubectl exec`"
    profile = spec.security_context.seccomp_profile if spec.security_context else None
    if profile is not None and profile.type == "Localhost":
        yield "securityContext.seccompProfile: Localhost profiles are not supported yet"


def _of_container(container: Container) -> Iterator[str]:
    where = f"container {container.name}"
    if any(port.host_port for port in container.ports):
        yield f"{where}: hostPort: a node's ports are not a tenant's; publish ports with a Service"
    if container.volume_devices:
        yield f"{where}: volumeDevices are not supported yet; use volumeMounts"
    if container.restart_policy_rules:
        yield f"{where}: restartPolicyRules are not supported yet"
    if any(mount.mount_propagation not in (None, "None") for mount in container.volume_mounts):
        yield f"{where}: mountPropagation other than None is not supported yet"
    if container.security_context is not None:
        yield from _of_context(container.security_context, where)


def _of_context(context: SecurityContext, where: str) -> Iterator[str]:
    if context.seccomp_profile is not None and context.seccomp_profile.type == "Localhost":
        yield f"{where}: securityContext.seccompProfile: Localhost profiles are not supported yet"
    if context.proc_mount == "Unmasked":
        yield f"{where}: securityContext.procMount: Unmasked is not supported yet"
