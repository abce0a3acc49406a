"""`hn up` and `hn down` as a user meets them: what continues, what is refused, and that nothing is left behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypernetes.cli import lock
from tests.e2e.clusters import HN, Cluster, eventually, free_port

NOBODY = 65534


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, not started."""
    cluster = Cluster(tmp_path / "data", free_port())
    yield cluster
    cluster.kill_everything()


def as_from_a_terminal() -> None:
    """A shell that runs this suite in the background has its children ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def refused(cluster: Cluster, *arguments: str) -> str:
    """The one sentence of an `hn up` that must fail."""
    done = cluster.hn(*cluster.up_arguments(), *arguments, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("hn: ")
    assert "Traceback" not in done.stderr + done.stdout
    return done.stderr.strip()


@pytest.mark.parametrize("arguments", [[], ["--detach"]])
def test_a_taken_port_is_one_sentence_and_nothing_is_made(cluster: Cluster, arguments: list[str]):
    with socket.socket() as other:
        other.bind(("127.0.0.1", cluster.port))
        other.listen()
        sentence = refused(cluster, *arguments)
    assert f"port {cluster.port} can't be used" in sentence
    assert "\n" not in sentence
    assert not cluster.directory.exists()


def test_without_privileges_it_is_one_sentence_and_nothing_is_made(cluster: Cluster, tmp_path: Path):
    tmp_path.chmod(0o777)
    # Rights are dropped after the imports: the interpreter may lie where only root can read.
    program = (
        "import os\nfrom hypernetes.cli.main import main\n"
        f"os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *cluster.up_arguments()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("hn: hn up must run as root")
    assert done.stderr.count("\n") == 1
    assert not cluster.directory.exists()


def test_a_directory_of_something_else_is_left_alone(cluster: Cluster):
    cluster.directory.mkdir()
    (cluster.directory / "thesis.tex").write_text("irreplaceable")
    assert "is not empty and holds no cluster" in refused(cluster)
    assert [path.name for path in cluster.directory.iterdir()] == ["thesis.tex"]


def test_without_a_guest_it_says_how_to_build_one(cluster: Cluster, tmp_path: Path):
    assert "make guest" in refused(cluster, "--guest", str(tmp_path / "nothing"))
    assert not cluster.directory.exists()


def test_down_and_status_where_there_is_no_cluster_are_one_sentence(cluster: Cluster):
    for command in ("down", "status"):
        done = cluster.hn(command, "--dir", str(cluster.directory), check=False)
        assert done.returncode == 1
        assert "holds no cluster" in done.stderr
    assert not cluster.directory.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("arguments", [[], ["--detach"]])
def test_an_interrupted_start_leaves_nothing_behind(cluster: Cluster, arguments: list[str], number: signal.Signals):
    starting = subprocess.Popen(
        [HN, *cluster.up_arguments(), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, preexec_fn=as_from_a_terminal,
    )  # fmt: skip
    eventually(lambda: cluster.layout.pid("hn-apiserver").exists(), within=60, why="hn-apiserver was not started")
    os.kill(starting.pid, number)
    output, _ = starting.communicate(timeout=120)
    assert starting.returncode == 1, output
    assert "interrupted" in output
    assert "Traceback" not in output
    assert cluster.host_traces() == []
    assert lock.holder(cluster.layout.lock) is None


@pytest.mark.vm
def test_a_cluster_continues_with_all_objects_after_down_and_up(cluster: Cluster):
    cluster.up()
    first = cluster.layout.load()
    cluster.create_tenant("acme")
    cluster.kubectl("acme", "create", "configmap", "kept", "--from-literal=word=still-here")
    node = cluster.get("system", "nodes")["items"][0]["metadata"]

    again = cluster.up()
    assert "runs already" in again
    assert "nothing was changed" in again
    assert "runs already" in refused(cluster)

    cluster.down()
    assert cluster.host_traces() == []
    assert cluster.hn("status", "--dir", str(cluster.directory), check=False).returncode == 1
    cluster.down()  # a second time changes nothing

    cluster.up()
    assert cluster.layout.load() == first
    assert cluster.kubectl("acme", "get", "configmap", "kept", "-o", "jsonpath={.data.word}") == "still-here"
    assert cluster.get("system", "nodes")["items"][0]["metadata"]["uid"] == node["uid"]
    assert "already" in cluster.hn("tenant", "create", "acme", "--dir", str(cluster.directory)).stdout


@pytest.mark.vm
def test_two_clusters_run_side_by_side(cluster: Cluster, tmp_path: Path):
    other = Cluster(tmp_path / "other", free_port())
    try:
        cluster.up()
        other.up()
        cluster.down()
        assert cluster.host_traces() == []
        assert other.get("system", "nodes")["items"]
    finally:
        other.kill_everything()


@pytest.mark.vm
def test_ctrl_c_in_front_stops_everything(cluster: Cluster):
    running = subprocess.Popen(
        [HN, *cluster.up_arguments()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, preexec_fn=as_from_a_terminal,
    )  # fmt: skip
    assert running.stdout is not None
    eventually(lambda: "stop it with Ctrl-C" in running.stdout.readline(), within=240, why="not up", every=0.0)
    os.kill(running.pid, signal.SIGINT)
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 0, output
    assert "everything to continue from" in output
    assert cluster.host_traces() == []
