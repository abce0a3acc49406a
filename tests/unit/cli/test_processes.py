from pathlib import Path

from hypernetes.cli.layout import Cluster, Layout
from hypernetes.cli.leftovers import HostProcess, cgroups_of, machines, processes_of
from hypernetes.cli.processes import last_lines, limit_log, restart_delay
from hypernetes.cli.programs import Options, apiserver, others


def test_the_first_restart_is_almost_at_once_and_later_ones_back_off():
    assert [restart_delay(deaths) for deaths in range(1, 9)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_the_processes_of_a_cluster_and_their_command_lines():
    layout = Layout(Path("/srv/data"))
    cluster = Cluster("abc123", "127.0.0.1", 7443, (10250, 10251))
    options = Options(("n-1", "n-2"), "etcd://127.0.0.1:2379", Path("/g"), ("127.0.0.1:5000",), "tcg", "debug")
    server = apiserver(Path("/bin"), layout, cluster, options)
    assert " ".join(server.argv) == (
        "/bin/hn-apiserver --dir /srv/data --bind 127.0.0.1 --port 7443 --store etcd://127.0.0.1:2379 --log-level debug"
    )
    programs = others(Path("/bin"), layout, cluster, options)
    assert [program.name for program in programs] == [
        "hn-scheduler", "hn-controllers", "hn-agent-n-1", "hn-agent-n-2",
    ]  # fmt: skip
    assert " ".join(programs[3].argv) == (
        "/bin/hn-agent --dir /srv/data/nodes/n-2 --node-name n-2 --kubeconfig /srv/data/kubeconfig/node-n-2.kubeconfig "
        "--cert /srv/data/pki/node-n-2.crt --key /srv/data/pki/node-n-2.key --client-ca /srv/data/pki/ca.crt "
        "--port 10251 --cluster-id abc123 --guest /g --accel tcg "
        "--network-provider local=/srv/data/nodes/n-2/network.yaml "
        "--insecure-registry 127.0.0.1:5000 --network-address 198.18.0.3 --log-level debug"
    )


def test_where_users_come_from_is_passed_on_and_tenants_follow_the_first_provider():
    layout, cluster = Layout(Path("/srv/data")), Cluster("abc123", "127.0.0.1", 7443, (10250,))
    options = Options(("n-1",), identity_providers=("one=/f", "two"), authentication_config=Path("/jwt.yaml"))
    server = apiserver(Path("/bin"), layout, cluster, options).argv
    asked = "--identity-provider one=/f --identity-provider two --authentication-config /jwt.yaml"
    assert asked in " ".join(server)
    controllers = " ".join(others(Path("/bin"), layout, cluster, options)[1].argv)
    assert "--identity-provider one=/f --network-provider local --log-level" in controllers


def test_controllers_and_agents_have_one_network_provider():
    layout, cluster = Layout(Path("/srv/data")), Cluster("abc123", "127.0.0.1", 7443, (10250,))
    options = Options(("n-1",), network_provider="neutron=/f")
    scheduler, *rest = others(Path("/bin"), layout, cluster, options)
    assert ["--network-provider neutron=/f" in " ".join(program.argv) for program in rest] == [True, True]
    assert "--network-provider" not in scheduler.argv


def test_only_what_works_in_the_directory_belongs_to_its_cluster():
    layout, cluster = Layout(Path("/srv/data")), Cluster("abc123")
    machine = HostProcess(1, ("/usr/bin/qemu-system-x86_64", "-name", "hnabc123-u", "-M", "microvm"))
    agent = HostProcess(2, ("/v/bin/python", "/v/bin/hn-agent", "--dir", "/srv/data/nodes/n"))
    server = HostProcess(3, ("/v/bin/python", "/v/bin/hn-apiserver", "--dir", "/srv/data"))
    strangers = [
        HostProcess(4, ("vim", "/srv/data/log/hn-agent.log")),
        HostProcess(5, ("qemu-system-x86_64", "-name", "hnabc124-u")),
        HostProcess(6, ("/v/bin/python", "/v/bin/hn-apiserver", "--dir", "/srv/data2")),
        HostProcess(7, ()),
    ]
    assert processes_of(layout, cluster, [machine, agent, server, *strangers]) == [machine, agent, server]
    assert machines(cluster, [machine, agent, server, *strangers]) == [machine]


def test_control_groups_are_known_by_the_clusters_id(tmp_path: Path):
    ours = tmp_path / "memory" / "hn-abc123" / "pod-1"
    ours.mkdir(parents=True)
    (tmp_path / "memory" / "hn-abc124" / "pod-1").mkdir(parents=True)
    (tmp_path / "memory" / "system").mkdir()
    assert set(cgroups_of("abc123", tmp_path)) == {ours, ours.parent}


def test_a_log_over_its_limit_moves_aside_under_its_writer(tmp_path: Path):
    path = tmp_path / "x.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        limit_log(path, limit=1000)
        assert path.read_bytes() == b"old\n" * 100
        limit_log(path, limit=100)
        writer.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert (tmp_path / "x.log.1").read_bytes() == b"old\n" * 100


def test_the_end_of_a_log(tmp_path: Path):
    (tmp_path / "x.log").write_text("".join(f"{number}\n" for number in range(10_000)))
    assert last_lines(tmp_path / "x.log", 2) == ["9998", "9999"]
    assert last_lines(tmp_path / "none", 2) == []
