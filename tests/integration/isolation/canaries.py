"""A word that nobody could guess, to be found wherever it comes out: plain, or inside base64."""

import base64
import re
import secrets
import string

_LETTERS = 20


class Leak(AssertionError):
    """Somebody received what is another's."""


class Canaries:
    """Each canary is a name of its own that begins with the same random word."""

    def __init__(self) -> None:
        self._word = "".join(secrets.choice(string.ascii_lowercase) for _ in range(_LETTERS))
        self._count = 0
        self._forms = (self._word.encode(), *(_inside_base64(self._word, shift) for shift in range(3)))
        self.secret = set[str]()  # UIDs that nobody else should learn

    def fresh(self) -> str:
        """Good as a name, a label's key or value, and data."""
        self._count += 1
        return f"{self._word}{self._count}"

    @property
    def word(self) -> bytes:
        """What each of them begins with."""
        return self._word.encode()

    def check(self, received: bytes, what: object) -> None:
        """Raises Leak."""
        for form in self._forms:
            at = received.find(form)
            if at >= 0:
                raise Leak(f"{what}: {received[max(0, at - 200) : at + 100]!r}")
        learnt = self.secret.intersection(_UID.findall(received.decode("utf-8", "replace")))
        if learnt:
            raise Leak(f"{what}: UIDs {sorted(learnt)}")


_UID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def _inside_base64(word: str, shift: int) -> bytes:
    """The characters of the word's base64 that don't depend on what stands around it, `shift` bytes after a group."""
    encoded = base64.b64encode(b"\0" * shift + word.encode())
    return encoded[-(-shift * 4 // 3) + (shift > 0) : 4 * ((shift + len(word)) // 3)].rstrip(b"=")
