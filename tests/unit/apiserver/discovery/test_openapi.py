from hypernetes.apiserver import discovery, openapi


def test_the_protobuf_form_of_v2_says_its_version_and_describes_no_type() -> None:
    document = openapi.of(discovery.built_in()).v2_protobuf()
    assert document.content_type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    assert document.body.startswith(b"\x0a\x032.0\x12")
    assert document.body[6] == len(document.body) - 7
