"""The local provider's configuration on a node."""

from pathlib import Path

import pytest

from hypernetes.providers.network.local import LocalNetworkProvider, configuring


def test_a_node_can_have_a_namespace_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    file.write_text("namespace: node-1.of_us\n")
    assert configuring.node_namespace(file) == "node-1.of_us"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "namespace:",
        "namespace: 7",
        "namespace: a/b",
        "namespace: ..",
        "space: a",
        "namespace: a\nmore: b",
        "[",
        "\xff",
    ],
)
def test_what_cannot_be_used_is_named_with_its_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "network.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=str(file)):
        LocalNetworkProvider("abcdef", "node-1", tmp_path, configuration=file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="missing"):
        configuring.node_namespace(tmp_path / "missing.yaml")
