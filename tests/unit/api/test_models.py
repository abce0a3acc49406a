from hypernetes.api import generate, scheme
from hypernetes.api.models import apps_v1, core_v1, hypernetes_v1, rbac_v1


def test_the_models_are_what_the_facts_say() -> None:
    for name, text in generate.generate().items():
        assert (generate.MODELS / name).read_text() == text, f"{name} is stale: run python -m hypernetes.api.generate"


def test_a_model_writes_what_it_was_given_and_no_more() -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": [{"image": "nginx", "name": "web"}], "volumes": [{"emptyDir": {}, "name": "cache"}]},
    }
    assert core_v1.Pod.from_dict(manifest).to_dict() == manifest


def test_what_was_set_to_zero_is_written() -> None:
    assert apps_v1.Deployment(spec={"replicas": 0, "selector": {}, "template": {}}).to_dict()["spec"]["replicas"] == 0


def test_defaults_are_not_shared_between_objects() -> None:
    first, second = core_v1.Pod(), core_v1.Pod()
    first.metadata.labels["app"] = "web"
    assert second.metadata.labels == {}


def test_wire_names_become_snake_case() -> None:
    for wire, python in {
        "clusterIPs": "cluster_ips",
        "podCIDRs": "pod_cidrs",
        "hostIP": "host_ip",
        "setHostnameAsFQDN": "set_hostname_as_fqdn",
        "continue": "continue_",
        "uid": "uid",
        "providerNetworkID": "provider_network_id",
        "x509": "x509",
    }.items():
        assert generate.snake_case(wire) == python


def test_every_served_kind_has_a_schema_and_a_path() -> None:
    for resource in scheme.served():
        assert scheme.schema_name(resource.group, resource.version, resource.kind)
        assert resource.path("acme", "web", "x").startswith(f"/tenants/acme{resource.prefix}/")


def test_the_core_name_of_networks_is_the_same_objects() -> None:
    assert scheme.by_name("v1", "networks").stored == scheme.by_name("hypernetes.io/v1", "networks")
    assert hypernetes_v1.Network.API_VERSION == "hypernetes.io/v1"


def test_a_cluster_scoped_path_has_no_namespace() -> None:
    nodes = scheme.by_kind("v1", "Node")
    assert nodes.path("*", "ignored", "n1", "status") == "/tenants/*/api/v1/nodes/n1/status"
    assert scheme.by_kind("apps/v1", "Deployment").path(None, "web") == "/apis/apps/v1/namespaces/web/deployments"


def test_empty_lists_that_the_server_writes_as_null_are_read_as_empty() -> None:
    role = rbac_v1.ClusterRole.from_dict({"metadata": {"name": "r"}, "rules": None})
    assert role.rules == []
    assert "rules" not in role.to_dict()
