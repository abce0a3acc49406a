"""Families and addresses of services: what is filled in, in tenants with ranges of one family and of both."""

from typing import Any

import pytest

from hypernetes.apiserver.registry import services
from hypernetes.apiserver.registry.servicefamilies import carry_over, complete, validate_update

Spec = dict[str, Any]
V4, V6, BOTH = ["IPv4"], ["IPv6"], ["IPv4", "IPv6"]
POLICY = "spec.ipFamilyPolicy"


def spec(**parts: Any) -> Spec:
    return {"type": "ClusterIP", "selector": {"a": "b"}, **parts}


@pytest.mark.parametrize(
    ("asked", "configured", "families", "policy"),
    [
        (spec(), V4, V4, "SingleStack"),
        (spec(), BOTH, V4, "SingleStack"),
        (spec(ipFamilies=V6), BOTH, V6, "SingleStack"),
        (spec(ipFamilyPolicy="PreferDualStack"), V4, V4, "PreferDualStack"),
        (spec(ipFamilyPolicy="PreferDualStack"), BOTH, BOTH, "PreferDualStack"),
        (spec(ipFamilyPolicy="RequireDualStack", ipFamilies=V6), BOTH, ["IPv6", "IPv4"], "RequireDualStack"),
        (spec(ipFamilyPolicy="PreferDualStack", clusterIP="fd00::9", clusterIPs=["fd00::9"]), BOTH, ["IPv6", "IPv4"],
         "PreferDualStack"),
        (spec(clusterIP="None"), V4, V4, "SingleStack"),
        (spec(clusterIP="None", selector={}), V4, BOTH, "RequireDualStack"),
        (spec(clusterIP="None", selector={}, ipFamilies=V6), V4, ["IPv6", "IPv4"], "RequireDualStack"),
        (spec(clusterIP="None", selector={}, ipFamilyPolicy="SingleStack"), V4, V4, "SingleStack"),
    ],
)  # fmt: skip
def test_what_a_new_service_doesnt_say_is_filled_in(
    asked: Spec, configured: list[str], families: list[str], policy: str
) -> None:
    assert complete(asked, None, configured) == []
    assert (asked["ipFamilies"], asked["ipFamilyPolicy"]) == (families, policy)


@pytest.mark.parametrize(
    ("asked", "configured", "paths"),
    [
        (spec(ipFamilyPolicy="RequireDualStack"), V4, [POLICY]),
        (spec(ipFamilies=V6), V4, ["spec.ipFamilies[0]"]),
        (spec(ipFamilies=BOTH), BOTH, [POLICY]),
        (spec(ipFamilies=BOTH, ipFamilyPolicy="SingleStack"), BOTH, [POLICY]),
        (spec(ipFamilies=BOTH, ipFamilyPolicy="PreferDualStack"), V4, ["spec.ipFamilies[1]"]),
        (spec(clusterIPs=["10.0.0.1", "fd00::1"]), BOTH, [POLICY]),
        (spec(clusterIPs=["fd00::1"]), V4, ["spec.clusterIPs[0]"]),
    ],
)
def test_what_the_tenant_has_no_range_for_is_refused(asked: Spec, configured: list[str], paths: list[str]) -> None:
    assert [cause["field"] for cause in complete(asked, None, configured)] == paths


def test_a_service_that_would_like_two_addresses_gets_no_second_one_by_itself() -> None:
    before = spec(ipFamilyPolicy="PreferDualStack", ipFamilies=V4, clusterIPs=["10.0.0.9"])
    after = {**before, "sessionAffinity": "ClientIP"}
    assert complete(after, before, BOTH) == []
    assert after["ipFamilies"] == V4
    required = {**before, "ipFamilyPolicy": "RequireDualStack"}
    assert complete(required, before, BOTH) == []
    assert required["ipFamilies"] == BOTH


def test_who_wants_a_single_family_gives_up_the_second_address() -> None:
    before = spec(ipFamilyPolicy="RequireDualStack", ipFamilies=BOTH, clusterIPs=["10.0.0.9", "fd00::9"])
    after = {**before, "ipFamilyPolicy": "SingleStack"}
    carry_over(after, before)
    assert (after["ipFamilies"], after["clusterIPs"]) == (V4, ["10.0.0.9"])
    assert validate_update(after, before) == []


@pytest.mark.parametrize(
    ("parts", "paths"),
    [
        ({"clusterIPs": ["10.0.0.9"]}, [POLICY]),  # still RequireDualStack
        ({"clusterIPs": ["10.0.0.8", "fd00::9"]}, ["spec.clusterIPs[0]"]),
        ({"clusterIPs": ["10.0.0.9", "fd00::8"]}, ["spec.clusterIPs[1]"]),
        ({"ipFamilies": ["IPv6", "IPv4"]}, ["spec.ipFamilies[0]", "spec.ipFamilies[1]"]),
        ({"clusterIPs": []}, ["spec.clusterIPs[0]"]),
    ],
)
def test_addresses_stay_once_given(parts: Spec, paths: list[str]) -> None:
    before = spec(ipFamilyPolicy="RequireDualStack", ipFamilies=BOTH, clusterIPs=["10.0.0.9", "fd00::9"])
    assert [cause["field"] for cause in validate_update({**before, **parts}, before)] == paths


def test_addresses_are_chosen_for_the_families_that_have_none() -> None:
    service = {"spec": spec(ipFamilies=BOTH, clusterIP="10.0.0.9", clusterIPs=["10.0.0.9"])}
    assert services.without_address(service) == V6
    services.assign(service, "fd00::9")
    assert service["spec"]["clusterIPs"] == ["10.0.0.9", "fd00::9"]
    assert services.without_address(service) == []
    headless = {"spec": spec(ipFamilies=BOTH, clusterIP="None", clusterIPs=["None"])}
    assert services.without_address(headless) == []
    elsewhere = {"spec": {"type": "ExternalName"}}
    assert services.without_address(elsewhere) == []
