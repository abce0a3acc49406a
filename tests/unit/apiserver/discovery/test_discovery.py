import orjson
import pytest

from hypernetes.api import scheme
from hypernetes.apiserver import discovery, openapi
from hypernetes.apiserver.discovery import AggregatedForm, Discovery
from hypernetes.apiserver.documents import Document

KUBECTL_ACCEPT = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
PROTOBUF = "application/vnd.kubernetes.protobuf"
AGGREGATED = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.fixture(scope="module")
def built_in():
    return discovery.built_in()


def test_the_groups_are_those_of_the_served_resources(built_in):
    groups = {group["name"]: group for group in built_in.group_list()["groups"]}
    assert groups.keys() == {resource.group for resource in scheme.served()} - {""}
    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert built_in.group("apps")["kind"] == "APIGroup"
    assert built_in.group("nope") is None
    assert built_in.group("") is None


def test_a_version_lists_its_resources_and_their_subresources(built_in):
    listed = built_in.resource_list("apps", "v1")
    assert (listed["apiVersion"], listed["groupVersion"]) == ("v1", "apps/v1")
    rows = {row["name"]: row for row in listed["resources"]}
    assert list(rows) == sorted(rows)
    assert rows["deployments"] == {
        "name": "deployments", "singularName": "deployment", "namespaced": True, "kind": "Deployment",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["deploy"], "categories": ["all"], "storageVersionHash": "8aSe+NMegvE=",
    }  # fmt: skip
    assert rows["deployments/scale"] == {
        "name": "deployments/scale", "singularName": "", "namespaced": True, "group": "autoscaling", "version": "v1",
        "kind": "Scale", "verbs": ["get", "patch", "update"],
    }  # fmt: skip
    assert built_in.resource_list("apps", "v9") is None


def test_clients_prefer_the_newest_version_and_the_groups_that_upstream_prefers(built_in):
    names = [group["name"] for group in built_in.group_list()["groups"]]
    assert names[:2] == ["apiregistration.k8s.io", "apps"]
    assert names[-3:] == ["hypernetes.io", "metrics.k8s.io", "snapshot.storage.k8s.io"]
    assert names.index("events.k8s.io") < names.index("coordination.k8s.io")
    versions = built_in.group("autoscaling")["versions"]
    assert [each["version"] for each in versions] == ["v2", "v1"]
    assert built_in.group("autoscaling")["preferredVersion"] == versions[0]


def test_two_versions_of_the_same_objects_have_one_storage_version(built_in):
    hashes = {
        version: built_in.resource_list("autoscaling", version)["resources"][0]["storageVersionHash"]
        for version in ("v1", "v2")
    }
    assert hashes["v1"] == hashes["v2"]
    virtual = {row["name"]: row for row in built_in.resource_list("", "v1")["resources"]}["componentstatuses"]
    assert "storageVersionHash" not in virtual


def test_the_core_group_has_its_own_root(built_in):
    assert built_in.api_versions("127.0.0.1:6443")["versions"] == ["v1"]
    listed = built_in.resource_list("", "v1")
    assert "apiVersion" not in listed
    assert "pods" in {row["name"] for row in listed["resources"]}


def test_the_aggregated_document_says_what_the_old_ones_say(built_in):
    for core in (True, False):
        document = built_in.aggregated(core)
        assert document.content_type == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        for group in orjson.loads(document.body)["items"]:
            for version in group["versions"]:
                old = built_in.resource_list(group["metadata"].get("name", ""), version["version"])
                names = set()
                for resource in version["resources"]:
                    names.add(resource["resource"])
                    names |= {
                        f"{resource['resource']}/{each['subresource']}" for each in resource.get("subresources", ())
                    }
                assert names == {row["name"] for row in old["resources"]}


def test_another_set_of_resources_has_other_documents(built_in):
    fewer = Discovery(resource for resource in scheme.served() if resource.name != "tenants")
    assert "tenants" not in {row["name"] for row in fewer.resource_list("hypernetes.io", "v1")["resources"]}
    assert fewer.aggregated(False).etag != built_in.aggregated(False).etag


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (KUBECTL_ACCEPT, AggregatedForm("v2")),
        ("application/json;v=v2beta1;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io", AggregatedForm("v2beta1")),
        (f"{PROTOBUF};{AGGREGATED},{KUBECTL_ACCEPT}", AggregatedForm("v2", PROTOBUF)),
        (f"{PROTOBUF};{AGGREGATED.replace('v2', 'v2beta1')},{KUBECTL_ACCEPT}", AggregatedForm("v2")),
        (f"{PROTOBUF},{KUBECTL_ACCEPT}", None),
        ("application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList,application/json", None),
        ("application/json", None),
        (f"application/json,{KUBECTL_ACCEPT}", None),
        ("", None),
        (None, None),
    ],
)
def test_a_client_gets_the_aggregated_document_if_it_asks_for_it_first(accept, form):
    assert discovery.aggregated_form(accept) == form


def test_the_version_is_one_that_clients_can_parse():
    version = discovery.version()
    assert version["gitVersion"].startswith("v1.36.0+hypernetes.")
    assert set(version) >= {"major", "minor", "gitVersion", "gitCommit", "buildDate", "goVersion", "platform"}


def test_a_document_is_recognised_by_its_tag():
    document = Document.of({"a": 1})
    assert document.matches(document.etag)
    assert document.matches(f'"x", W/{document.etag}')
    assert document.matches("*")
    assert not document.matches('"x"')
    assert not document.matches(None)


def test_the_index_leads_to_every_group_and_its_hash_changes_with_the_content():
    documents = openapi.of(discovery.built_in())
    paths = orjson.loads(documents.index("/tenants/acme").body)["paths"]
    assert set(paths) >= {"api/v1", "apis/apps/v1", "apis/hypernetes.io/v1"}
    url = paths["apis/apps/v1"]["serverRelativeURL"]
    assert url == f"/tenants/acme/openapi/v3/apis/apps/v1?hash={documents.group('apps', 'v1').hash}"
    assert documents.group("apps", "v9") is None


def _references(value):
    if isinstance(value, dict):
        yield from (item for key, item in value.items() if key == "$ref" and isinstance(item, str))
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def test_every_reference_leads_somewhere():
    documents = openapi.of(discovery.built_in())
    for group, version in discovery.built_in().group_versions():
        document = orjson.loads(documents.group(group, version).body)
        known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
        assert set(_references(document)) <= known
    v2 = orjson.loads(documents.v2().body)
    assert set(_references(v2)) <= {f"#/definitions/{name}" for name in v2["definitions"]}


def test_a_patch_says_that_it_validates_fields_so_that_kubectl_need_not():
    document = orjson.loads(openapi.of(discovery.built_in()).group("apps", "v1").body)
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}


def test_lists_keep_their_merge_keys_for_clients_that_make_patches():
    schemas = orjson.loads(openapi.of(discovery.built_in()).group("", "v1").body)["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    spec = schemas["io.k8s.api.core.v1.Pod"]["properties"]["spec"]
    assert spec["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}]


def test_a_tenant_is_offered_nothing_that_is_the_providers_alone() -> None:
    offered = discovery.for_tenant("acme")
    names = {row["name"]: row["verbs"] for row in offered.resource_list("", "v1")["resources"]}
    assert "bindings" not in names
    assert "pods/binding" not in names
    assert names["nodes"] == ["get", "list", "watch"]
    assert "create" in names["pods"]
    own = {row["name"]: row["verbs"] for row in offered.resource_list("hypernetes.io", "v1")["resources"]}
    assert "tenants" not in own
    assert own["ports"] == ["get", "list", "watch"]
    for provider in ("system", None):
        assert discovery.for_tenant(provider) is discovery.built_in()
