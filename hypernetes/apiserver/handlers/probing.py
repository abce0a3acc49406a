"""/healthz, /livez and /readyz, with ?verbose, ?exclude= and a path for each check."""

from aiohttp import web

from hypernetes.apiserver import health
from hypernetes.apiserver.handlers import plaintext
from hypernetes.apiserver.health import Health


def is_probe(path: str) -> bool:
    return path in health.PATHS or path.startswith(("/livez/", "/readyz/", "/healthz/"))


async def probe(checks: Health, request: web.BaseRequest) -> web.Response:
    """Any method is as good as GET, as upstream."""
    _, root, *check = request.path.split("/", 2)
    path = f"/{root}"
    names = checks.names(path)
    if check and check[0]:
        return await _one(checks, path, check[0]) if check[0] in names else plaintext.no_such_path()
    asked = request.query.getall("exclude", [])
    excluded = {name for name in names if name in asked}
    results = await checks.results(path, [name for name in names if name not in excluded])
    every = {name: results.get(name) for name in names}
    unmatched = [name for name in asked if name not in excluded]
    text = health.report(root, every, excluded, unmatched, verbose="verbose" in request.query)
    return plaintext.answer(text, 500 if any(every.values()) else 200)


async def _one(checks: Health, path: str, name: str) -> web.Response:
    problem = (await checks.results(path, [name]))[name]
    if problem is None:
        return plaintext.answer("ok")
    return plaintext.answer("internal server error: reason withheld\n", 500)
