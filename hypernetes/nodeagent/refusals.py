"""What a pod asks for that this node doesn't do: said in an Event, and the pod waits, rather than run without it.

A pod is a machine of its own on its tenant's network, so most of what names the host has another meaning here or none;
the text names what to use instead. `REFUSED` is looked up for every field that a pod sets, whatever it is nested in,
and docs/pod-support.md is made from it: a field is either there, or a test shows that it works.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hypernetes.api.models.core_v1 import Container, EphemeralContainer, Pod, Volume
from hypernetes.api.object import Model


class Refused(Exception):
    """The pod can't run as it is written."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """`asks` tells which values ask for anything: what is false or empty never does."""

    text: str
    asks: Callable[[Any], bool] = bool


def _other_than(*harmless: str) -> Callable[[Any], bool]:
    return lambda value: value not in harmless


_NO_SUCH_STORAGE = "a pod's machine has no driver for it; use emptyDir, or keep the data in a service"
_NO_WINDOWS = "a pod's machine runs Linux"
_NO_DEVICES = "devices of the node are not given to pods"

_NO_APPARMOR = Refusal(
    "a pod's machine has no AppArmor profiles; use seccompProfile and capabilities",
    lambda profile: profile.type != "Unconfined",
)

# By the field's type and name, as `python -m tests.podsupport.document` shows them.
REFUSED: Mapping[str, Refusal] = {
    "PodSpec.hostNetwork": Refusal("a pod is a machine on its tenant's network; publish ports with a Service"),
    "PodSpec.hostPID": Refusal(
        "a pod's machine has no processes but its own; shareProcessNamespace joins its containers"
    ),
    "PodSpec.hostIPC": Refusal("a pod's machine has its own IPC, which all its containers share"),
    "PodSpec.schedulingGroup": Refusal("groups of pods are not scheduled together; leave it out"),
    "PodSpec.resourceClaims": Refusal(_NO_DEVICES),
    "PodSpec.runtimeClassName": Refusal("the node has one kind of machine; leave it out"),
    "PodOS.name": Refusal(_NO_WINDOWS, _other_than("linux")),
    "PodSecurityContext.windowsOptions": Refusal(_NO_WINDOWS),
    "PodSecurityContext.seLinuxOptions": Refusal("a pod's machine has no SELinux; its kernel is the pod's own"),
    "PodSecurityContext.seLinuxChangePolicy": Refusal("a pod's machine has no SELinux; its kernel is the pod's own"),
    "PodSecurityContext.fsGroupChangePolicy": Refusal(
        "not supported yet, and of no use without claims", _other_than("Always")
    ),
    "PodSecurityContext.appArmorProfile": _NO_APPARMOR,
    "SecurityContext.appArmorProfile": _NO_APPARMOR,
    "SecurityContext.windowsOptions": Refusal(_NO_WINDOWS),
    "SecurityContext.seLinuxOptions": Refusal("a pod's machine has no SELinux; its kernel is the pod's own"),
    "ContainerPort.hostPort": Refusal("a node's ports are not a tenant's; publish ports with a Service"),
    "ContainerPort.hostIP": Refusal("a node's addresses are not a tenant's; publish ports with a Service"),
    "ContainerRestartRule.action": Refusal("RestartAllContainers is not supported yet", _other_than("Restart")),
    "ObjectFieldSelector.apiVersion": Refusal("fields are those of v1", _other_than("v1")),
    "ResourceRequirements.claims": Refusal(_NO_DEVICES),
    "Volume.hostPath": Refusal("nothing of the host is in a pod's machine; use a claim or emptyDir"),
    "Volume.csi": Refusal("volumes that a driver makes for a pod alone are not supported; use ephemeral"),
    "Volume.gitRepo": Refusal("cloned by nobody since Kubernetes 1.33; clone in an init container into an emptyDir"),
    **{
        f"Volume.{name}": Refusal(_NO_SUCH_STORAGE)
        for name in (
            "awsElasticBlockStore",
            "azureDisk",
            "azureFile",
            "cephfs",
            "fc",
            "flexVolume",
            "flocker",
            "gcePersistentDisk",
            "glusterfs",
            "iscsi",
            "photonPersistentDisk",
            "portworxVolume",
            "quobyte",
            "rbd",
            "scaleIO",
            "storageos",
            "vsphereVolume",
        )
    },
    "VolumeProjection.clusterTrustBundle": Refusal("not supported yet; put the certificates into a ConfigMap"),
    "VolumeProjection.podCertificate": Refusal("not supported yet; use a Secret"),
}


def check(pod: Pod) -> None:
    """Raises Refused, with everything that stands in the way."""
    if found := list(_within(pod.spec, "", "")):
        raise Refused("; ".join(found))


def check_container(container: Container) -> None:
    """Of one that came to the pod later. Raises Refused."""
    if found := list(_within(container, "", "")):
        raise Refused("; ".join(found))


def field_name(model: Model, alias: str) -> str:
    """The name by which a field is looked up. An ephemeral container is a container."""
    kind = type(model).__name__
    if kind == EphemeralContainer.__name__ and alias in _CONTAINER_FIELDS:
        kind = Container.__name__
    return f"{kind}.{alias}"


def _within(model: Model, where: str, path: str) -> Iterator[str]:
    """`where` names the container or volume, `path` is that of `model` in it."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if not value:
            continue
        here = f"{path}.{field.alias or name}".lstrip(".")
        refusal = REFUSED.get(field_name(model, field.alias or name))
        if refusal is not None and refusal.asks(value):
            yield f"{where}{here}: {refusal.text}"
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Container | EphemeralContainer):
                yield from _within(part, f"container {part.name}: ", "")
            elif isinstance(part, Volume):
                yield from _within(part, f"volume {part.name}: ", "")
            elif isinstance(part, Model):
                yield from _within(part, where, here)


_CONTAINER_FIELDS = frozenset(field.alias or name for name, field in Container.model_fields.items())
