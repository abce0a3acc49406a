"""`tenantID` of a Network: a tenant's own, ignored where it means nothing, and the provider's way into a tenant."""

from typing import Any

import pytest

from tests.integration.api.servers import User
from tests.integration.api.test_tenant_states import set_spec

PROJECT, OTHERS = "065f210a2ca9442aad898ab129426350", "165f210a2ca9442aad898ab129426351"
CORE, OWN = "/api/v1/networks", "/apis/hypernetes.io/v1/networks"


def network(tenant_id: str, name: str = "net1") -> dict[str, Any]:
    spec = {"tenantID": tenant_id, "subnets": {"subnet1": {"cidr": "192.168.0.0/24", "gateway": "192.168.0.1"}}}
    return {"kind": "Network", "metadata": {"name": name}, "spec": spec}


def is_project(id: str) -> dict[str, Any]:
    return {"identity": {"keystone": {"projectID": id}}}


@pytest.mark.parametrize("path", [CORE, OWN])
async def test_anothers_is_refused_in_the_words_for_one_that_is_not_there(admin: User, path: str) -> None:
    async with await admin.tenant("acme") as acme, await admin.tenant("globex"):
        await set_spec(admin, "acme", **is_project(PROJECT))
        await set_spec(admin, "globex", **is_project(OTHERS))
        refused = [await acme("POST", path, network(each)) for each in (OTHERS, "nobody's")]
        assert {(each.status, each.json["reason"]) for each in refused} == {(403, "Forbidden")}
        [text] = {each.json["message"] for each in refused}
        assert f"must be this tenant's, {PROJECT}" in text
        assert (await acme("POST", path, network(PROJECT))).status == 201


async def test_where_a_tenant_is_no_project_it_is_ignored_with_a_warning(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        made = await acme("POST", CORE, network(PROJECT))
        assert made.status == 201
        assert "spec.tenantID is ignored" in made.headers["Warning"]


async def test_the_providers_administrators_put_a_network_into_a_tenant(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        await set_spec(admin, "acme", **is_project(PROJECT))
        assert (await admin("POST", CORE, network(PROJECT))).status == 201
        assert (await acme("GET", f"{CORE}/net1")).status == 200
        assert (await admin("GET", f"{CORE}/net1")).status == 404
        assert (await admin("POST", CORE, network("nobody's"))).status == 404
        assert (await admin("POST", f"/tenants/acme{CORE}", network(OTHERS, "net2"))).status == 403


async def test_kubectl_gets_the_columns_of_the_guide(admin: User) -> None:
    async with await admin.tenant("acme") as acme:
        await acme("POST", CORE, network(PROJECT))
        table = await acme("GET", CORE, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
        heads = [each["name"] for each in table.json["columnDefinitions"] if each["priority"] == 0]
        assert heads == ["Name", "Subnets", "ProviderNetworkID", "Labels", "Status"]
        cells = {row["cells"][0]: row["cells"][1:5] for row in table.json["rows"]}
        assert cells["net1"] == ["192.168.0.0/24", "", "<none>", "Initializing"]
