"""componentstatuses of a running server."""

from hypernetes.api import times
from tests.integration.api.servers import User


async def test_components_are_well_while_they_hold_their_leases(admin: User) -> None:
    spec = {
        "holderIdentity": "one", "leaseDurationSeconds": 60, "renewTime": times.format_micro_time(times.now()),
    }  # fmt: skip
    lease = {"metadata": {"name": "hn-scheduler"}, "spec": spec}
    made = await admin("POST", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", lease)
    assert made.status == 201
    answer = await admin("GET", "/api/v1/componentstatuses")
    assert "deprecated" in answer.headers["Warning"]
    found = {item["metadata"]["name"]: item["conditions"][0] for item in answer.json["items"]}
    assert {name: condition["status"] for name, condition in found.items()} == {
        "controller-manager": "False", "etcd-0": "True", "scheduler": "True",
    }  # fmt: skip
    one = await admin("GET", "/api/v1/componentstatuses/controller-manager")
    assert one.json["conditions"][0]["error"] == "there is none"
    assert (await admin("GET", "/api/v1/componentstatuses/kubelet")).status == 404


async def test_they_print_as_a_table_and_can_be_selected(admin: User) -> None:
    table = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    answer = await admin("GET", "/api/v1/componentstatuses", headers=table, fieldSelector="metadata.name=etcd-0")
    assert [row["cells"] for row in answer.json["rows"]] == [["etcd-0", "Healthy", "ok", ""]]
    assert (await admin("POST", "/api/v1/componentstatuses", {})).status == 405
