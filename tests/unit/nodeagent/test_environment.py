"""Environment variables of a container."""

from typing import Any

import pytest

from hypernetes.api.models.core_v1 import ConfigMap, Pod, Secret, Service
from hypernetes.nodeagent.environment import ConfigError, Sources, environment, expand, parse_file
from hypernetes.nodeagent.fieldrefs import PodFacts

FACTS = PodFacts("10.0.0.5", "127.0.0.1", 1000, 256 << 20)
SOURCES = Sources(
    {"settings": ConfigMap.from_dict({"data": {"COLOUR": "red", "not a name": "x"}}), "absent": None},
    {"keys": Secret.from_dict({"data": {"KEY": "czNjcmV0"}})},
)


def variables(*env: dict[str, Any], services: tuple[Service, ...] = (), **container: Any) -> dict[str, str]:
    spec = {"name": "main", "env": list(env), **container}
    pod = Pod.from_dict(
        {"metadata": {"name": "p", "namespace": "web", "labels": {"a/b": "c"}}, "spec": {"containers": [spec]}}
    )
    return environment(pod, pod.spec.containers[0], SOURCES, services, FACTS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("x$(A)y$(A)", "x1y1"), ("$A", "$A"), ("$(", "$("),
        ("$$", "$"), ("$$$(A)", "$1"),
    ],
)  # fmt: skip
def test_references_are_expanded(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


def test_a_variable_sees_those_before_it() -> None:
    made = variables({"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "3"})
    assert made == {"A": "1", "B": "1$(C)", "C": "3"}


def test_sources_of_every_kind() -> None:
    made = variables(
        {"name": "K", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "KEY"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}},
        {"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        envFrom=[{"prefix": "X_", "configMapRef": {"name": "settings"}}],
    )
    assert made == {"X_COLOUR": "red", "K": "s3cret", "IP": "10.0.0.5", "L": "c", "M": "256"}


def test_what_is_missing_is_said_unless_optional() -> None:
    missing = {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "no"}}}
    with pytest.raises(ConfigError, match="couldn't find key no in configmap"):
        variables(missing)
    missing["valueFrom"]["configMapKeyRef"]["optional"] = True  # type: ignore[index]
    assert variables(missing) == {}
    with pytest.raises(ConfigError, match='configmap "absent" not found'):
        variables(envFrom=[{"configMapRef": {"name": "absent"}}])


def test_services_of_the_namespace_and_the_api_are_variables() -> None:
    def service(namespace: str, name: str, address: str) -> Service:
        return Service.from_dict(
            {
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"clusterIP": address, "ports": [{"port": 80}]},
            }
        )

    found = (
        service("web", "my-db", "10.254.0.9"), service("default", "kubernetes", "10.254.0.1"),
        service("other", "hidden", "10.254.0.8"), service("web", "headless", "None"),
    )  # fmt: skip
    made = variables(services=found)
    assert made["MY_DB_SERVICE_HOST"] == "10.254.0.9"
    assert made["MY_DB_PORT_80_TCP"] == "tcp://10.254.0.9:80"
    assert made["KUBERNETES_SERVICE_HOST"] == "10.254.0.1"
    assert not [name for name in made if name.startswith(("HIDDEN", "HEADLESS"))]


def test_a_file_of_variables_has_bare_and_quoted_values() -> None:
    content = b"# made\n\nA=1\n B='x y' \nC=\"it's\"\nD=\n"
    assert parse_file(content, "it") == {"A": "1", "B": "x y", "C": "it's", "D": ""}


@pytest.mark.parametrize("line", ["export A=1", "A", "1A=x", "A='x", "A=x y", "A='x'y"])
def test_a_line_that_is_no_assignment_is_named(line: str) -> None:
    with pytest.raises(ConfigError, match="file f of volume v: line 2 "):
        parse_file(f"OK=1\n{line}\n".encode(), "file f of volume v")
