"""What a pod asks for that no node does is said, with what to use instead."""

from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent import refusals


def pod(container: Any = None, **spec: Any) -> Pod:
    containers = [{"name": "main", "image": "img", **(container or {})}]
    return Pod.from_dict({"metadata": {"name": "p"}, "spec": {"containers": containers, **spec}})


LOCALHOST = {"seccompProfile": {"type": "Localhost"}}
REFUSED = {
    "hostNetwork": pod(hostNetwork=True),
    "hostPID": pod(hostPID=True),
    "hostIPC": pod(hostIPC=True),
    "hostPath": pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
    "hostPort": pod({"ports": [{"containerPort": 80, "hostPort": 80}]}),
    "ephemeral": pod(ephemeralContainers=[{"name": "debug", "image": "img"}]),
    "volumeDevices": pod({"volumeDevices": [{"name": "v", "devicePath": "/dev/x"}]}),
    "restartPolicyRules": pod({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In"}}]}),
    "mountPropagation": pod({"volumeMounts": [{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}]}),
    "securityContext.seccompProfile": pod(securityContext=LOCALHOST),
    "container main: securityContext.seccompProfile": pod(
        {"securityContext": {"seccompProfile": {"type": "Localhost"}}}
    ),
    "procMount": pod({"securityContext": {"procMount": "Unmasked"}}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_node_does_is_refused_by_name(what: str) -> None:
    with pytest.raises(refusals.Refused, match=what):
        refusals.check(REFUSED[what])


def test_everything_that_stands_in_the_way_is_said_at_once() -> None:
    with pytest.raises(refusals.Refused) as refused:
        refusals.check(pod({"ports": [{"containerPort": 80, "hostPort": 80}]}, hostNetwork=True))
    assert "hostNetwork: " in str(refused.value)
    assert "container main: hostPort: " in str(refused.value)


def test_what_means_nothing_more_than_the_default_is_let_through() -> None:
    defaults = {"seccompProfile": {"type": "RuntimeDefault"}, "procMount": "Default"}
    mounts = [{"name": "v", "mountPath": "/v", "mountPropagation": "None"}]
    container = {"ports": [{"containerPort": 80}], "securityContext": defaults, "volumeMounts": mounts}
    refusals.check(pod(container, hostNetwork=False, volumes=[{"name": "v", "emptyDir": {}}]))
