"""What componentstatuses say, by the leases that the components hold."""

from datetime import UTC, datetime

from hypernetes.apiserver.handlers import components

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def lease(renewed, holder="a"):
    return {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed}


def test_who_holds_a_lease_is_well_until_it_runs_out():
    assert components.expired(lease("2026-01-01T11:59:50.000000Z"), NOW) is None
    assert "11:59:40" in components.expired(lease("2026-01-01T11:59:40.000000Z"), NOW)


def test_a_lease_that_was_given_back_is_nobodys():
    assert components.expired(lease("2026-01-01T11:59:59.000000Z", holder=""), NOW) == "nobody holds its lease"
    assert components.expired({"holderIdentity": "a"}, NOW) == "nobody holds its lease"


def test_a_component_is_healthy_or_says_what_is_wrong():
    assert components.component_status("scheduler", None)["conditions"] == [
        {"type": "Healthy", "status": "True", "message": "ok"}
    ]
    assert components.component_status("scheduler", "gone")["conditions"][0]["error"] == "gone"
