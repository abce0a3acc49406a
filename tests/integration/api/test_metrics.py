"""/metrics of a running server: what was asked of it shows, to the provider alone."""

from tests.integration.api.servers import User


async def test_what_was_asked_of_the_server_shows_in_its_metrics(admin: User) -> None:
    await admin("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    async with admin.watch("/api/v1/namespaces/shop/configmaps") as watch:
        await admin("POST", "/api/v1/namespaces/shop/configmaps", {"metadata": {"name": "a"}})
        assert ("ADDED", "a") in await watch.names(2)  # and kube-root-ca.crt
        answer = await admin("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    lines = answer.body.decode().splitlines()
    for name, label, value in [
        ("apiserver_request_total", 'resource="configmaps"', "1.0"),
        ("apiserver_longrunning_requests", 'resource="configmaps"', "1.0"),
        ("apiserver_storage_objects", 'resource="configmaps"', None),
        ("apiserver_watch_events_total", 'kind="ConfigMap"', None),
    ]:
        found = [line for line in lines if line.startswith(f"{name}{{") and label in line]
        assert found, name
        assert value is None or found[0].endswith(f" {value}"), found


async def test_a_tenant_sees_nothing_of_it(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        assert (await acme("GET", "/metrics")).status == 403
        assert (await acme("GET", "/tenants/system/metrics")).status == 403
