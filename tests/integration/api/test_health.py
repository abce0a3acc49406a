"""/livez, /readyz and /healthz of a running server, asked without any credential."""

from tests.integration.api.servers import User


async def test_anybody_may_ask_for_health_and_for_nothing_else(admin: User) -> None:
    async with admin.anonymous() as nobody:
        for path in ("/livez", "/readyz", "/healthz", "/readyz/store", "/livez/ping"):
            answer = await nobody("GET", path)
            assert (answer.status, answer.body) == (200, b"ok"), path
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert (await nobody("GET", "/api/v1/namespaces")).status in (401, 403)
        assert (await nobody("GET", "/metrics")).status in (401, 403)
        assert (await nobody("GET", "/livez", headers={"Authorization": "Bearer bogus"})).status == 401


async def test_verbose_tells_of_each_check(admin: User) -> None:
    answer = await admin("GET", "/readyz", verbose="")
    names = ["ping", "store", "mirror", "signing-keys", "shutdown"]
    assert answer.body.decode().splitlines() == [*(f"[+]{name} ok" for name in names), "readyz check passed"]
    answer = await admin("GET", "/livez", verbose="1", exclude="store")
    assert "[+]store excluded: ok" in answer.body.decode()


async def test_there_is_no_check_of_another_name(admin: User) -> None:
    for path in ("/livez/nope", "/livez/shutdown", "/healthz/ping/x"):
        answer = await admin("GET", path)
        assert (answer.status, answer.body) == (404, b"404 page not found\n"), path
