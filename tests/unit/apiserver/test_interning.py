"""Who manages what, shared between objects."""

from hypernetes.apiserver.interning import MAX_PIECE_BYTES, Interner


def entries(time: str, fields: str = '{"f:data":{}}') -> bytes:
    return b'[{"apiVersion":"v1","fieldsV1":%b,"manager":"a","time":"%b"}]' % (fields.encode(), time.encode())


def test_the_pieces_make_up_the_whole_and_are_shared() -> None:
    interner = Interner()
    first, second = entries("2026-01-01T00:00:00Z"), entries("2026-01-01T00:00:01Z")
    one, other = interner.pieces(first), interner.pieces(second)
    assert b"".join(one) == first
    assert b"".join(other) == second
    assert one[0] is other[0]
    assert interner.pieces(bytes(first)) is one


def test_a_field_that_is_called_like_a_time_does_no_harm() -> None:
    data = entries("x", fields=r'{"f:a,\"time\":\"b\"":{},"k:{\"time\":\"2026\"}":{}}')
    assert b"".join(Interner().pieces(data)) == data


def test_what_is_kept_to_be_found_is_bounded() -> None:
    interner = Interner(max_bytes=10_000)
    pieces = [interner.pieces(entries(str(number), "{" + "x" * 500 + str(number) + "}")) for number in range(100)]
    assert all(len(each) == 3 for each in pieces)
    assert sum(map(len, interner._known)) < 20_000


def test_what_is_hardly_the_same_in_two_objects_is_not_kept() -> None:
    interner = Interner()
    assert interner.pieces(b"x" * (MAX_PIECE_BYTES + 1)) == (b"x" * (MAX_PIECE_BYTES + 1),)
    assert not interner._known


def test_an_object_without_managers_has_no_pieces() -> None:
    assert Interner().pieces(b"") == ()
