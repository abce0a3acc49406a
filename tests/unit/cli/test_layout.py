import re
from pathlib import Path

import pytest

from hypernetes.cli.errors import CommandError
from hypernetes.cli.layout import Cluster, Layout, new_cluster_id, node_names


def test_a_cluster_is_read_as_it_was_written(tmp_path: Path):
    layout = Layout.of(tmp_path)
    cluster = Cluster("abc123", "127.0.0.1", 7443, (10250, 10251))
    layout.save(cluster)
    assert layout.load() == cluster


def test_the_id_stays_and_the_address_is_of_the_last_start(tmp_path: Path):
    layout = Layout.of(tmp_path)
    first = layout.load_or_create(bind="127.0.0.1", port=6443)
    layout.save(first)
    second = layout.load_or_create(bind="0.0.0.0", port=7443)
    assert (second.id, second.port) == (first.id, 7443)
    assert second.server == "https://127.0.0.1:7443"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "abc123", "unknown": 1}', "null"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: str):
    layout = Layout.of(tmp_path)
    layout.cluster_file.write_text(content)
    with pytest.raises(CommandError, match="is damaged"):
        layout.load()


def test_a_directory_without_a_cluster_is_one_sentence(tmp_path: Path):
    with pytest.raises(CommandError, match="holds no cluster"):
        Layout.of(tmp_path).load()


def test_ids_fit_into_every_host_global_name():
    for _ in range(100):
        assert re.fullmatch(r"[a-z][a-z0-9]{5}", new_cluster_id())


def test_one_node_is_called_after_its_machine():
    assert node_names(1, "host") == ["host"]
    assert node_names(3, "host") == ["host-1", "host-2", "host-3"]


def test_an_ipv6_address_is_bracketed():
    assert Cluster("abc123", "::1", 6443).server == "https://[::1]:6443"
