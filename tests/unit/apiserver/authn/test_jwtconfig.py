import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from hypernetes.apiserver.authn import jwtconfig
from hypernetes.apiserver.authn.jwtconfig import Configuration, Mapped, parse
from hypernetes.providers.identity.base import ConfigurationError

GOOD = """
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://id.example.com/realm
    audiences: [kubernetes, other]
    audienceMatchPolicy: MatchAny
  tenant: {claim: organization}
  claimMappings:
    username: {claim: sub, prefix: "id:"}
    groups: {claim: groups, prefix: ""}
    uid: {claim: sub}
    extra: [{key: example.com/mail, claim: email}]
  claimValidationRules: [{claim: hd, requiredValue: example.com}]
anonymous:
  enabled: true
  conditions: [{path: /livez}, {path: /readyz}]
"""


def document() -> Any:
    return copy.deepcopy(yaml.safe_load(GOOD))


def test_what_the_file_says_is_understood():
    found = parse(document())
    assert found.anonymous_paths == ("/livez", "/readyz")
    (issuer,) = found.issuers
    assert issuer.discovery_url == "https://id.example.com/realm/.well-known/openid-configuration"
    assert (issuer.audiences, issuer.tenant, issuer.tenant_claim) == (
        ("kubernetes", "other"),
        "",
        Mapped("organization"),
    )
    assert (issuer.username, issuer.groups, issuer.uid) == (Mapped("sub", "id:"), Mapped("groups"), "sub")
    assert issuer.extra == (("example.com/mail", "email"),)
    assert issuer.required == (("hd", "example.com"),)


def test_a_file_without_issuers_leaves_all_as_it_is():
    empty = {"apiVersion": "apiserver.config.k8s.io/v1beta1", "kind": "AuthenticationConfiguration"}
    assert parse(empty) == Configuration()


def _at(path: str, value: Any) -> Any:
    changed = document()
    place, *parts = changed, *path.split("/")
    for part in parts[:-1]:
        place = place[int(part) if part.isdecimal() else part]
    if value is None:
        del place[parts[-1]]
    else:
        place[parts[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("kind", "Other", "must be an AuthenticationConfiguration"),
        ("apiVersion", "v1", "must be an AuthenticationConfiguration"),
        ("surprise", 1, r"surprise: no such field"),
        ("jwt", {}, "jwt: must be a list"),
        ("jwt/0/issuer/url", "http://id.example.com", r"jwt\[0\]\.issuer\.url: must be a URL that begins with https"),
        ("jwt/0/issuer/url", "https://a@b/", "without user"),
        ("jwt/0/issuer/url", "https://kubernetes.default.svc.cluster.local/tenants/acme", "the cluster's own issuer"),
        ("jwt/0/issuer/discoveryURL", "http://other", r"issuer\.discoveryURL: must be a URL"),
        ("jwt/0/issuer/audiences", [], r"audiences: at least one"),
        ("jwt/0/issuer/audienceMatchPolicy", None, "must be MatchAny where there are several"),
        ("jwt/0/tenant", {}, r"jwt\[0\]\.tenant: either name or claim"),
        ("jwt/0/tenant", None, "tenant"),
        ("jwt/0/tenant", {"name": "Not A Label"}, "can't be a tenant's name"),
        ("jwt/0/tenant", {"name": "acme", "claim": "c"}, "either name or claim"),
        ("jwt/0/claimMappings/username", None, "username: must be given"),
        ("jwt/0/claimMappings/username", {"claim": "sub"}, "prefix: must be given"),
        ("jwt/0/claimMappings/username", {"expression": "claims.sub"}, r"username\.expression: CEL"),
        ("jwt/0/claimMappings/extra", [{"key": "example.com/a", "valueExpression": "claims.a"}], "CEL"),
        ("jwt/0/claimMappings/extra", [{"key": "authentication.kubernetes.io/a", "claim": "a"}], r"extra\[0\]\.key"),
        ("jwt/0/claimMappings/extra", [{"key": "hypernetes.io/a", "claim": "a"}], r"extra\[0\]\.key"),
        ("jwt/0/claimValidationRules", [{"expression": "claims.a == 1"}], "CEL"),
        ("jwt/0/userValidationRules", [{"expression": "true"}], "userValidationRules: CEL"),
        ("anonymous", {"enabled": "yes"}, r"anonymous\.enabled"),
        ("anonymous", {"enabled": False, "conditions": [{"path": "/livez"}]}, r"anonymous\.conditions"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_field_named(path: str, value: Any, said: str):
    with pytest.raises(ConfigurationError, match=said):
        parse(_at(path, value))


def test_two_entries_of_one_issuer_are_refused():
    twice = document()
    twice["jwt"].append(copy.deepcopy(twice["jwt"][0]))
    with pytest.raises(ConfigurationError, match="is there already"):
        parse(twice)


@pytest.mark.parametrize("content", [b"", b"[]", b"a: [", b"\xff\xfe", b"x" * (jwtconfig.MAX_FILE_BYTES + 1)])
def test_an_unusable_file_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "authentication.yaml"
    with pytest.raises(ConfigurationError, match=r"authentication\.yaml: "):
        jwtconfig.load(path)
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"authentication\.yaml"):
        jwtconfig.load(path)
