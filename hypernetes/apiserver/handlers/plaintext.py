"""Answers that are no object: health, metrics, and paths that lead nowhere at all."""

from aiohttp import web


def answer(body: str, status: int = 200) -> web.Response:
    return web.Response(text=body, status=status, headers={"X-Content-Type-Options": "nosniff"})


def no_such_path() -> web.Response:
    """Where upstream has no handler that could answer with a Status."""
    return answer("404 page not found\n", 404)
