import pytest

from hypernetes.api import status
from hypernetes.api.status import StatusError


def test_a_status_survives_the_wire() -> None:
    sent = status.invalid(
        "apps", "Deployment", "web", [status.cause("FieldValueRequired", "spec.selector", "Required value")]
    )
    received = StatusError.from_dict(sent.to_dict(), 422)
    assert (received.reason, received.code, received.causes, received.message) == (
        "Invalid",
        422,
        sent.causes,
        sent.message,
    )
    assert received.details == {"name": "web", "group": "apps", "kind": "Deployment"}


def test_an_answer_that_is_no_status_still_becomes_an_error() -> None:
    assert StatusError.from_dict({}, 502).code == 502


@pytest.mark.parametrize(
    ("error", "code", "details"),
    [
        (status.not_found("pods", "a"), 404, {"name": "a", "kind": "pods"}),
        (status.already_exists("deployments.apps", "a"), 409, {"name": "a", "group": "apps", "kind": "deployments"}),
        (
            status.conflict("leases.coordination.k8s.io", "a", "why"),
            409,
            {"name": "a", "group": "coordination.k8s.io", "kind": "leases"},
        ),
    ],
)
def test_details_name_what_it_was_about(error: StatusError, code: int, details: dict[str, str]) -> None:
    assert error.code == code
    assert error.to_dict()["details"] == details
