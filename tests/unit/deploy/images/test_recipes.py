import pytest
from demoimages.recipes import BASE, RECIPES, Recipe


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_image_says_what_to_run_and_where_programs_are(recipe: Recipe) -> None:
    assert recipe.config.get("Entrypoint") or recipe.config.get("Cmd")
    assert any(setting.startswith("PATH=") for setting in recipe.config["Env"])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_an_image_that_does_not_run_as_root_names_a_known_user(recipe: Recipe) -> None:
    users = [line.split(":")[2] for line in BASE.added["etc/passwd"].data.decode().splitlines()]  # type: ignore[union-attr]
    assert recipe.config.get("User", "0:0").split(":")[0] in users


def test_the_echo_server_answers_with_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    from demoimages.content import echo

    monkeypatch.setenv("WORD", "tangerine")
    reply = echo.answer(b"GET /page HTTP/1.1\r\nHost: web", "10.0.0.7")
    head, _, body = reply.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body.startswith(b"word: tangerine\nhost: ")
    assert b"client: 10.0.0.7\n" in body
    assert b"GET /page HTTP/1.1\nHost: web" in body
