"""Which bearer tokens Keystone is asked about."""

import base64

import orjson
import pytest

from hypernetes.providers.identity.keystone.validation import recognises


def part(claims: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(claims)).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("token", "could_be"),
    [
        ("gAAAAABm" + "x" * 180, True),
        ("0123456789abcdef0123456789abcdef", True),
        (f"{part({'alg': 'ES256'})}.{part({'sub': 'u', 'openstack_project_id': 'p'})}.{'s' * 86}", True),
        (f"{part({'alg': 'ES256'})}.{part({'iss': 'https://issuer', 'sub': 'u'})}.{'s' * 86}", False),
        (f"{part({'alg': 'none'})}.{part({'sub': 'u'})}", False),
        ("gAAAAA\r\nX-Admin: 1" + "x" * 50, False),
        ("gAAAAA" + "é" * 50, False),
        ("x" * 5_000, False),
        ("short", False),
    ],
    ids=["fernet", "uuid", "its JWS", "another's JWT", "two parts", "header", "not ASCII", "long", "short"],
)
def test_a_token_is_recognised_by_its_looks(token: str, could_be: bool) -> None:
    assert recognises(token) is could_be
