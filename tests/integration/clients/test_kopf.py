"""A kopf operator on built-in kinds, from the first object to the last, and across a restart of the server."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.clients.commands import Kubectl
from tests.integration.clients.planes import Plane

WAIT = "--timeout=60s"
SHELF = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}, labels: {{shelf: "yes"}}}}
data: {{image: "shelf:1"}}
"""
STATE = "{.metadata.annotations.shelf\\.example\\.com/state}"


@pytest.fixture(scope="module")
def operator(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Its log."""
    log = tmp_path_factory.mktemp("kopf") / "log"
    script = str(Path(__file__).with_name("operator_example.py"))
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "--namespace=default", script]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=kubectl.environment(), stdout=output, stderr=output)
    try:
        yield log
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        assert process.wait(60) == 0, log.read_text()


def make(kubectl: Kubectl, name: str) -> None:
    kubectl("create", "-f", "-", stdin=SHELF.format(name=name))
    kubectl("wait", f"configmap/{name}", f"--for=jsonpath={STATE}=ready", WAIT)


def test_it_makes_what_is_asked_for_and_says_so(kubectl: Kubectl, operator: Path) -> None:
    make(kubectl, "books")
    deployment = kubectl.get("deployment/books")
    owner = kubectl.get("configmap/books")["metadata"]
    assert [entry["uid"] for entry in deployment["metadata"]["ownerReferences"]] == [owner["uid"]]
    assert owner["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
    assert "kopf.zalando.org/last-handled-configuration" in owner["annotations"]
    told = "--field-selector=involvedObject.name=books,reason=Made"
    kubectl("wait", "event", told, "--for=jsonpath={.message}=made a shelf", WAIT)
    assert "made a shelf" in kubectl("describe", "configmap", "books")


def test_it_follows_changes_of_a_field(kubectl: Kubectl, operator: Path) -> None:
    make(kubectl, "jars")
    kubectl("patch", "configmap", "jars", "--type=merge", "-p", '{"data":{"image":"shelf:2"}}')
    path = "{.spec.template.spec.containers[0].image}"
    kubectl("wait", "deployment/jars", f"--for=jsonpath={path}=shelf:2", WAIT)


def test_it_has_its_say_before_an_object_goes_and_the_rest_is_collected(kubectl: Kubectl, operator: Path) -> None:
    make(kubectl, "tools")
    uid = kubectl.get("configmap/tools")["metadata"]["uid"]
    assert kubectl("delete", "configmap", "tools", WAIT) == 'configmap "tools" deleted\n'
    assert kubectl.get("configmap/tools-note")["data"] == {"of": uid}
    kubectl("wait", "--for=delete", "deployment/tools", WAIT)


def test_it_goes_on_after_the_server_was_restarted(plane: Plane, kubectl: Kubectl, operator: Path) -> None:
    make(kubectl, "before")
    plane.stop_server()
    plane.start_server()
    make(kubectl, "after")
    kubectl("delete", "configmap", "before", WAIT)
    kubectl("wait", "--for=delete", "deployment/before", WAIT)
    assert kubectl.get("deployment/after")["status"]["readyReplicas"] == 1
    kubectl("delete", "configmap", "after", WAIT)
