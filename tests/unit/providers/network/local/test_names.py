import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.providers.network.local import addressing, names

MAX_LINK_NAME = 15  # IFNAMSIZ less the final zero
uids = st.uuids().map(str)
cluster_ids = st.from_regex(r"[a-z0-9]{6}", fullmatch=True)
numbers = st.integers(0, addressing.UPLINK_COUNT - 1)


@given(cluster_ids, numbers, uids)
def test_links_fit_their_limit_and_the_hosts_carry_the_cluster(cluster_id: str, number: int, uid: str) -> None:
    uplink = names.uplink(cluster_id, number)
    assert uplink.startswith(f"hn{cluster_id}")
    assert all(len(name) <= MAX_LINK_NAME for name in (uplink, names.tap(uid), names.bridge(uid), names.UPLINK))


@given(cluster_ids, cluster_ids, numbers, numbers)
def test_uplinks_are_told_apart(cluster: str, other_cluster: str, number: int, other: int) -> None:
    same = (cluster, number) == (other_cluster, other)
    assert (names.uplink(cluster, number) == names.uplink(other_cluster, other)) == same


@given(cluster_ids, cluster_ids, numbers)
def test_a_clusters_wildcard_matches_its_own_uplinks_only(cluster: str, other_cluster: str, number: int) -> None:
    wildcard = names.uplinks(cluster).removesuffix("*")
    assert names.uplink(other_cluster, number).startswith(wildcard) == (cluster == other_cluster)


@given(cluster_ids, uids, uids)
def test_tenants_have_routers_of_their_own(cluster: str, uid: str, other: str) -> None:
    router = names.router(cluster, uid)
    assert router.startswith(names.router_prefix(cluster))
    assert (router == names.router(cluster, other)) == (uid == other)


@pytest.mark.parametrize("cluster_id", ["", "abc", "abcdefg", "ABCDEF", "abc-ef", "abcde\n", "ábcdef"])
def test_a_cluster_id_that_fits_no_name_is_refused(cluster_id: str) -> None:
    with pytest.raises(ValueError, match="six of a-z"):
        names.check_cluster_id(cluster_id)


@given(uids)
def test_a_gateways_mac_is_unicast_and_locally_administered(uid: str) -> None:
    first, *rest = names.gateway_mac(uid).split(":")
    assert int(first, 16) & 0b11 == 0b10
    assert len(rest) == 5


@given(st.from_regex(r"[a-z0-9.-]{1,63}", fullmatch=True), st.from_regex(r"[a-z0-9.-]{1,63}", fullmatch=True), uids)
def test_only_the_node_that_made_a_port_finds_it(node: str, other: str, port_id: str) -> None:
    alias = names.owner(node, port_id)
    assert names.owned_port(node, alias) == port_id
    assert (names.owned_port(other, alias) is None) == (other != node)


def test_a_link_of_somebody_else_is_nobodys_port() -> None:
    assert names.owned_port("node-1", None) is None
    assert names.owned_port("node-1", "somebody's own words") is None
    assert names.owned_port("node-1", "node-1/") is None
