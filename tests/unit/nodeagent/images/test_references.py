"""Image names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetes.nodeagent.images import references
from hypernetes.nodeagent.images.references import Reference

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", Reference("docker.io", "library/nginx", "latest", None)),
        ("nginx:1.25", Reference("docker.io", "library/nginx", "1.25", None)),
        ("index.docker.io/team/app", Reference("docker.io", "team/app", "latest", None)),
        ("127.0.0.1:5000/busybox", Reference("127.0.0.1:5000", "busybox", "latest", None)),
        ("localhost/a/b:c", Reference("localhost", "a/b", "c", None)),
        ("[::1]:5000/a", Reference("[::1]:5000", "a", "latest", None)),
        (f"ghcr.io/o/app@{DIGEST}", Reference("ghcr.io", "o/app", None, DIGEST)),
        (f"ghcr.io/o/app:v1@{DIGEST}", Reference("ghcr.io", "o/app", "v1", DIGEST)),
    ],
)
def test_names_are_completed(text: str, expected: Reference) -> None:
    assert references.parse(text) == expected


@pytest.mark.parametrize("text", ["", "Nginx", "a//b", "a:", "a@sha256:12", "a b", "host:99999999/x", "../x", "a/../b"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(references.InvalidReference):
        references.parse(text)


@given(st.text(max_size=60))
def test_a_parsed_name_parses_to_itself(text: str) -> None:
    try:
        parsed = references.parse(text)
    except references.InvalidReference:
        return
    assert references.parse(str(parsed)) == parsed
