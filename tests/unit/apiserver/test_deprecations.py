from hypernetes.apiserver import deprecations, routing


def asked(method: str, path: str) -> list[str]:
    return deprecations.warnings(routing.parse(method, path, {}))


def test_each_answer_about_a_deprecated_kind_warns() -> None:
    assert len(asked("GET", "/api/v1/namespaces/default/endpoints/x")) == 1
    assert len(asked("POST", "/api/v1/namespaces/default/endpoints")) == 1


def test_nothing_else_warns() -> None:
    assert asked("GET", "/api/v1/namespaces/default/services/x") == []
    assert asked("PUT", "/api/v1/componentstatuses/x") == []  # no such verb
    assert asked("GET", "/version") == []
