"""Other forms of objects, as long as there is room."""

from hypernetes.apiserver.keptforms import KeptForms
from hypernetes.apiserver.mirror import Entry


def test_an_old_form_makes_room_for_a_new_one() -> None:
    kept = KeptForms(10)
    entries = [Entry(str(number), number, b"{}") for number in range(4)]
    for entry in entries:
        kept.keep(entry, "form", b"12345")
    assert [bool(entry.views) for entry in entries] == [False, False, True, True]
    del entries[2]
    for entry in entries[:2]:
        kept.keep(entry, "form", b"12345")
    assert [bool(entry.views) for entry in entries] == [True, True, False]
    kept.keep(entries[0], "form", b"x" * 11)
    assert not any(entry.views for entry in entries)
