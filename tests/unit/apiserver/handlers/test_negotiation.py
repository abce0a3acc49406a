"""Which form of an answer a client gets, of those it says it takes."""

import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver import views
from hypernetes.apiserver.handlers import negotiation
from hypernetes.apiserver.handlers.negotiation import JSON, PROTOBUF, YAML, Accepted, chosen

TABLE = "as=Table;v=v1;g=meta.k8s.io"
METADATA = "as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
METADATA_LIST = "as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("header", "form"),
    [
        (None, Accepted()),
        ("", Accepted()),
        ("*/*", Accepted(JSON)),
        (PROTOBUF, Accepted(PROTOBUF)),
        (f"{PROTOBUF},{JSON}", Accepted(PROTOBUF)),
        (f"{PROTOBUF};stream=watch,{JSON}", Accepted(PROTOBUF)),
        (f"{PROTOBUF}, */*", Accepted(PROTOBUF)),
        (f"{JSON},{PROTOBUF}", Accepted(JSON)),
        (f"{JSON};q=0.5,{PROTOBUF};q=0.9", Accepted(PROTOBUF)),
        (f"{PROTOBUF};q=0,{YAML}", Accepted(YAML)),
        (f"*/*,{YAML}", Accepted(YAML)),  # the plainer one first
        (f"*/*;q=0.1,{PROTOBUF};q=0.05", Accepted(JSON)),
        (f"{PROTOBUF};q=many", Accepted(PROTOBUF)),
        (f"text/html,{PROTOBUF}", Accepted(PROTOBUF)),
        (f"{PROTOBUF};{TABLE},{PROTOBUF}", Accepted(PROTOBUF)),  # a table is never written in it
        (f"{PROTOBUF};{TABLE},{JSON};{TABLE},{JSON}", Accepted(JSON, views.TABLE)),
        (f"{PROTOBUF};{METADATA},{JSON};{METADATA},{JSON}", Accepted(PROTOBUF, views.METADATA)),
        (f"Application/Vnd.Kubernetes.Protobuf,{JSON}", Accepted(PROTOBUF)),
    ],
)
def test_the_best_form_is_chosen(header: str | None, form: Accepted) -> None:
    assert chosen(header) == form


def test_of_a_list_metadata_is_a_list() -> None:
    assert chosen(f"{PROTOBUF};{METADATA_LIST}", of_list=True) == Accepted(PROTOBUF, views.METADATA)
    with pytest.raises(StatusError):
        chosen(f"{PROTOBUF};{METADATA}", of_list=True)


def test_a_kind_without_a_message_is_written_as_what_is_listed_next_but_its_metadata_is() -> None:
    assert chosen(f"{PROTOBUF},{JSON}", in_protobuf=False) == Accepted(JSON)
    assert chosen(f"{PROTOBUF};{METADATA},{JSON}", in_protobuf=False) == Accepted(PROTOBUF, views.METADATA)
    with pytest.raises(StatusError) as refused:
        chosen(PROTOBUF, in_protobuf=False)
    assert (refused.value.code, PROTOBUF in refused.value.message) == (406, False)


def test_a_watch_is_never_yaml() -> None:
    assert chosen(f"{YAML},{PROTOBUF}", streamed=True) == Accepted(PROTOBUF)
    with pytest.raises(StatusError) as refused:
        chosen(YAML, streamed=True)
    assert refused.value.code == 406


@pytest.mark.parametrize(
    "header", ["text/html", "application/*", ";;;,,,=", f"{PROTOBUF};{TABLE}", f"{JSON};q=0", f"{PROTOBUF};as=x"]
)
def test_what_is_not_served_is_not_acceptable(header: str) -> None:
    with pytest.raises(StatusError) as refused:
        chosen(header)
    assert (refused.value.code, refused.value.reason) == (406, "NotAcceptable")


def test_a_message_of_a_kind_that_has_none_is_an_unsupported_type() -> None:
    with pytest.raises(StatusError) as refused:
        negotiation.payload(b"k8s\x00", PROTOBUF, ("hypernetes.io/v1", "Network"))
    assert refused.value.code == 415
