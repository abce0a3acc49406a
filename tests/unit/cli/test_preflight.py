from dataclasses import replace
from pathlib import Path

import pytest

from hypernetes.cli.preflight import Host, problems

GOOD = Host(user_id=0, directory=Path("/srv/data"))


def test_a_good_host_has_no_problem():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        (replace(GOOD, user_id=1000), "must run as root"),
        (replace(GOOD, directory_owner="alice", directory_owner_id=1000), "belongs to alice"),
        (replace(GOOD, directory_owner_id=0, directory_is_empty=False), "is not empty and holds no cluster"),
        (replace(GOOD, missing_tools=("nft", "tar2sqfs")), "apt-get install nftables squashfs-tools-ng"),
        (replace(GOOD, guest_built=False), "run `make guest`"),
        (replace(GOOD, taken_ports={6443: "it is taken by another process"}), "port 6443 can't be used"),
    ],
)
def test_each_problem_is_one_sentence_that_says_what_to_do(host: Host, sentence: str):
    found = problems(host)
    assert len(found) == 1
    assert sentence in found[0]
    assert "\n" not in found[0]


def test_a_directory_of_a_cluster_is_continued():
    assert problems(replace(GOOD, directory_owner_id=0, directory_is_empty=False, directory_is_cluster=True)) == []


def test_without_rights_nothing_else_is_told():
    assert len(problems(replace(GOOD, user_id=1, guest_built=False, missing_tools=("nft",)))) == 1
