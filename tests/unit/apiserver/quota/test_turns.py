from hypernetes.apiserver.quota.turns import Turns


def test_a_turn_is_held_by_the_request_that_took_it():
    turns, one, other = Turns(), object(), object()
    with turns.of("acme", "web") as turn:
        assert turns.held("acme", "web", one) is None
        with turn.held_by(one):
            turn.charges["q"] = b"x"
            assert turns.held("acme", "web", one) is turn
            assert turns.held("acme", "web", other) is None
            assert turns.held("globex", "web", one) is None
        assert turns.held("acme", "web", one) is None
        assert turn.charges == {}


def test_namespaces_that_nobody_writes_to_are_forgotten_in_the_end(monkeypatch):
    monkeypatch.setattr("hypernetes.apiserver.quota.turns._MOST_NAMESPACES", 2)
    turns = Turns()
    with turns.of("acme", "busy") as busy:
        for number in range(10):
            with turns.of("acme", f"n{number}"):
                pass
        with turns.of("acme", "busy") as again:
            assert again is busy
    with turns.of("acme", "n9") as latest, turns.of("acme", "n9") as same:
        assert latest is same
    assert len(turns._turns) == 2
