from typing import Any

import pytest

from tests.unit.apiserver.registry.changes import Object, changed, completed, strategy_of

POD: Object = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "web"},
    "spec": {"containers": [{"name": "c", "image": "nginx"}]},
}  # fmt: skip
C = "spec.containers.0"


def warnings(obj: Object, old: Object | None = None) -> list[str]:
    return strategy_of(obj).warnings(completed(obj), old)


def test_a_plain_pod_gives_no_warning() -> None:
    assert warnings(POD) == []


@pytest.mark.parametrize(
    ("path", "value", "start"),
    [
        ("metadata.name", "a.b", "metadata.name: this is used in the Pod's hostname"),
        ("metadata.annotations", {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"},
         "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since v1.30"),
        (f"{C}.env", [{"name": "A"}, {"name": "A"}], 'spec.containers[0].env[1]: hides previous definition of "A"'),
        (f"{C}.ports", [{"containerPort": 1}, {"containerPort": 1, "name": "x"}],
         "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"),
        (f"{C}.resources", {"requests": {"memory": "100m"}},
         'spec.containers[0].resources.requests[memory]: fractional byte value "100m"'),
        ("spec.imagePullSecrets", [{}], 'spec.imagePullSecrets[0].name: invalid empty name ""'),
        ("spec.imagePullSecrets", [{"name": "a"}, {"name": "a"}], "spec.imagePullSecrets[1].name: duplicate name"),
        ("spec.hostAliases", [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}], "spec.hostAliases[1].ip: duplicate ip"),
        ("spec.nodeSelector", {"beta.kubernetes.io/os": "linux"},
         "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14"),
        ("spec.volumes", [{"name": "v", "rbd": {"monitors": ["m"], "image": "i"}}], "spec.volumes[0].rbd: deprecated"),
        ("spec.volumes", [{"name": "v", "projected": {"sources": [{}]}}],
         "spec.volumes[0].projected.sources[0]: no sources provided"),
        ("spec.topologySpreadConstraints", [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway"}],
         "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector"),
    ],
)  # fmt: skip
def test_what_is_seldom_meant_is_told(path: str, value: Any, start: str) -> None:
    (warning,) = warnings(changed(POD, path, value))
    assert warning.startswith(start)


def test_an_update_that_leaves_the_spec_alone_warns_of_nothing() -> None:
    pod = changed(POD, "spec.imagePullSecrets", [{}])
    assert warnings(pod, completed(pod)) == []
    assert warnings(pod, completed(POD)) != []


def test_a_template_warns_as_its_pods_would() -> None:
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a.b", "namespace": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {**POD["spec"], "imagePullSecrets": [{}]}},
        },
    }  # fmt: skip
    name, secret = warnings(deployment)
    assert name.startswith("metadata.name: this is used in Pod names and hostnames")
    assert secret.startswith("spec.template.spec.imagePullSecrets[0].name")
