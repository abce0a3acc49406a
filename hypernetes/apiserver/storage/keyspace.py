"""What stores need to know of keys: where a prefix ends, and which keys' past is not worth keeping.

Keys are text; all stores order them by their UTF-8 bytes, which is the order of their code points.
"""

_LEASES = ("", "hypernetes", None, "coordination.k8s.io", "leases")  # the segments of a Lease's key; None: any
_LAST_CODE_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)  # no text of ours holds them, and UTF-8 can't


def prefix_end(prefix: str) -> str | None:
    """The first key after all that begin with `prefix`; None where nothing comes after."""
    while prefix:
        following = ord(prefix[-1]) + 1
        if following in _SURROGATES:
            following = _SURROGATES.stop
        if following <= _LAST_CODE_POINT:
            return prefix[:-1] + chr(following)
        prefix = prefix[:-1]
    return None


def is_lease(key: str) -> bool:
    """Leases are rewritten every few seconds for ever, and nobody asks how they were."""
    segments = key.split("/", len(_LEASES))
    return len(segments) > len(_LEASES) and all(
        wanted is None or wanted == found for wanted, found in zip(_LEASES, segments, strict=False)
    )


def may_hold_leases(prefix: str) -> bool:
    """Whether some key that begins with `prefix` could be a Lease's."""
    *whole, last = prefix.split("/")
    for wanted, found in zip(_LEASES, whole, strict=False):
        if wanted is not None and wanted != found:
            return False
    if len(whole) >= len(_LEASES):
        return True
    partial = _LEASES[len(whole)]
    return partial is None or partial.startswith(last)
