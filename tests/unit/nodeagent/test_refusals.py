"""What a pod asks for that no node does is said, with what to use instead."""

from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent import refusals


def pod(container: Any = None, **spec: Any) -> Pod:
    containers = [{"name": "main", "image": "img", **(container or {})}]
    return Pod.from_dict({"metadata": {"name": "p"}, "spec": {"containers": containers, **spec}})


APPARMOR = {"appArmorProfile": {"type": "RuntimeDefault"}}
RULE = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}
REFUSED = {
    "hostNetwork": pod(hostNetwork=True),
    "hostPID": pod(hostPID=True),
    "hostIPC": pod(hostIPC=True),
    "volume v: hostPath": pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
    "volume v: flexVolume": pod(volumes=[{"name": "v", "flexVolume": {"driver": "d"}}]),
    "ports.hostPort": pod({"ports": [{"containerPort": 80, "hostPort": 80}]}),
    "restartPolicyRules.action": pod({"restartPolicyRules": [RULE]}),
    "securityContext.appArmorProfile": pod(securityContext=APPARMOR),
    "container main: securityContext.appArmorProfile": pod({"securityContext": APPARMOR}),
    "container init: securityContext.windowsOptions": pod(
        initContainers=[
            {"name": "init", "image": "i", "securityContext": {"windowsOptions": {"runAsUserName": "Administrator"}}}
        ]
    ),
    "os.name": pod(os={"name": "windows"}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_node_does_is_refused_by_name(what: str) -> None:
    with pytest.raises(refusals.Refused, match=what):
        refusals.check(REFUSED[what])


def test_everything_that_stands_in_the_way_is_said_at_once() -> None:
    with pytest.raises(refusals.Refused) as refused:
        refusals.check(pod({"ports": [{"containerPort": 80, "hostPort": 80}]}, hostNetwork=True))
    assert "hostNetwork: " in str(refused.value)
    assert "container main: ports.hostPort: " in str(refused.value)


def test_what_means_nothing_more_than_the_default_is_let_through() -> None:
    defaults = {"appArmorProfile": {"type": "Unconfined"}, "procMount": "Default", "windowsOptions": None}
    container = {"ports": [{"containerPort": 80}], "securityContext": defaults, "resizePolicy": []}
    refusals.check(pod(container, hostNetwork=False, os={"name": "linux"}, volumes=[{"name": "v", "emptyDir": {}}]))
