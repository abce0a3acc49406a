"""Equal parts of many objects, held once: who manages what of them is the same for all that one controller makes.

What is told of a manager differs from object to object by its time alone. So it is cut around the times, and each piece
is kept once, whatever the number of objects that have it.
"""

_BEFORE_TIME, _TIME_BYTES = b',"time":"', len("2026-01-01T00:00:00Z")
MAX_PIECE_BYTES = 16 * 1024  # what is longer is hardly the same in two objects, and isn't shared
_MAX_BYTES = 4 * 1024 * 1024  # of pieces that are kept for others to find; what objects hold of them stays


class Interner:
    """See the module's docstring. Forgets all it knows when that is too much: later objects share among each other."""

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._known: dict[bytes, bytes] = {}
        self._wholes: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}
        self._bytes = 0

    def pieces(self, data: bytes) -> tuple[bytes, ...]:
        """Pieces that make up `data`, in order; none where it is empty."""
        if not data:
            return ()
        if self._bytes > self._max_bytes:
            self._known.clear()
            self._wholes.clear()
            self._bytes = 0
        pieces = tuple(map(self._shared, _cut(data)))
        if len(data) > MAX_PIECE_BYTES:
            return pieces
        whole = self._wholes.get(pieces)
        if whole is None:
            whole = self._wholes[pieces] = pieces
            self._bytes += 100
        return whole

    def _shared(self, piece: bytes) -> bytes:
        if len(piece) > MAX_PIECE_BYTES:
            return piece
        known = self._known.get(piece)
        if known is None:
            known = self._known[piece] = piece
            self._bytes += len(piece) + 150
        return known


def _cut(data: bytes) -> list[bytes]:
    """What is before, between and behind the times, and these; where it would cut elsewhere, that does no harm."""
    first, *others = data.split(_BEFORE_TIME)
    pieces = [first]
    for other in others:
        pieces[-1] += _BEFORE_TIME
        pieces += (other[:_TIME_BYTES], other[_TIME_BYTES:])
    return pieces
