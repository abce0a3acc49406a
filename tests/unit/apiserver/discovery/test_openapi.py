"""OpenAPI in protobuf: read back by protobuf's own library, with the messages of gnostic that clients use."""

import orjson
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, unknown_fields

from hypernetes.apiserver import discovery, openapi

# message -> (name, number, type; [] is repeated), as far as clients look
_MESSAGES = {
    "Document": "swagger=1:string info=2:Info paths=8:Paths definitions=9:Definitions",
    "Info": "title=1:string version=2:string",
    "Paths": "path=2:NamedPathItem[]",
    "NamedPathItem": "name=1:string value=2:PathItem",
    "PathItem": "get=2:Operation put=3:Operation post=4:Operation delete=5:Operation patch=8:Operation "
    "parameters=9:ParametersItem[]",
    "Operation": "operation_id=5:string consumes=7:string[] parameters=8:ParametersItem[] responses=9:Responses "
    "vendor_extension=13:NamedAny[]",
    "ParametersItem": "parameter=1:Parameter",
    "Parameter": "body_parameter=1:BodyParameter non_body_parameter=2:NonBodyParameter",
    "BodyParameter": "name=2:string in=3:string required=4:bool schema=5:Schema",
    "NonBodyParameter": "query_parameter_sub_schema=3:Query path_parameter_sub_schema=4:Path",
    "Query": "required=1:bool in=2:string name=4:string type=6:string unique_items=20:bool",
    "Path": "required=1:bool in=2:string name=4:string type=5:string unique_items=19:bool",
    "Responses": "response_code=1:NamedResponseValue[]",
    "NamedResponseValue": "name=1:string value=2:ResponseValue",
    "ResponseValue": "response=1:Response",
    "Response": "description=1:string schema=2:SchemaItem",
    "SchemaItem": "schema=1:Schema",
    "Definitions": "additional_properties=1:NamedSchema[]",
    "NamedSchema": "name=1:string value=2:Schema",
    "Schema": "_ref=1:string format=2:string description=4:string required=19:string[] enum=20:Any[] "
    "additional_properties=21:AdditionalPropertiesItem type=22:TypeItem items=23:ItemsItem properties=25:Definitions "
    "vendor_extension=31:NamedAny[]",
    "AdditionalPropertiesItem": "schema=1:Schema",
    "TypeItem": "value=1:string[]",
    "ItemsItem": "schema=1:Schema[]",
    "NamedAny": "name=1:string value=2:Any",
    "Any": "yaml=2:string",
}
_TYPES = {"string": 9, "bool": 8}
_PODS = "/api/v1/namespaces/{namespace}/pods"


@pytest.fixture(scope="module")
def document():
    """The message that a client has when it has decoded the answer."""
    file = descriptor_pb2.FileDescriptorProto(name="openapi.proto", package="openapi", syntax="proto3")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for field in fields.split():
            name, _, rest = field.partition("=")
            number, _, kind = rest.partition(":")
            made = described.field.add(name=name, number=int(number), label=3 if kind.endswith("[]") else 1)
            kind = kind.removesuffix("[]")
            made.type = _TYPES.get(kind, 11)
            if made.type == 11:
                made.type_name = f".openapi.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    read = message_factory.GetMessageClass(pool.FindMessageTypeByName("openapi.Document"))()
    read.ParseFromString(openapi.of(discovery.built_in()).v2_protobuf().body)
    return read


@pytest.fixture(scope="module")
def definitions(document):
    return {each.name: each.value for each in document.definitions.additional_properties}


@pytest.fixture(scope="module")
def spec():
    return orjson.loads(openapi.of(discovery.built_in()).v2().body)


def test_the_media_type_is_the_one_that_clients_ask_for_as_far_as_it_can_be():
    document = openapi.of(discovery.built_in()).v2_protobuf()
    assert document.content_type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def test_the_protobuf_form_describes_the_types_that_the_json_form_does(document, definitions, spec):
    assert (document.swagger, document.info.title) == ("2.0", "Hypernetes")
    assert definitions.keys() == spec["definitions"].keys()
    assert len(unknown_fields.UnknownFieldSet(document)) == 0
    pod_spec = definitions["io.k8s.api.core.v1.PodSpec"]
    fields = {each.name: each.value for each in pod_spec.properties.additional_properties}
    assert fields.keys() == spec["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"].keys()
    assert list(pod_spec.required) == ["containers"]
    assert list(pod_spec.type.value) == ["object"]
    assert fields["containers"].items.schema[0]._ref == "#/definitions/io.k8s.api.core.v1.Container"
    assert fields["nodeSelector"].additional_properties.schema.type.value == ["string"]


def test_extensions_are_kept_for_those_who_merge_lists(definitions):
    fields = {
        each.name: each.value
        for each in definitions["io.k8s.api.core.v1.PodSpec"].properties.additional_properties
    }  # fmt: skip
    extensions = {each.name: orjson.loads(each.value.yaml) for each in fields["containers"].vendor_extension}
    assert extensions["x-kubernetes-patch-merge-key"] == "name"
    kinds = {
        each.name: orjson.loads(each.value.yaml) for each in definitions["io.k8s.api.core.v1.Pod"].vendor_extension
    }
    assert kinds["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Pod", "version": "v1"}]


def test_paths_say_what_a_client_may_ask(document, spec):
    paths = {each.name: each.value for each in document.paths.path}
    assert paths.keys() == spec["paths"].keys()
    patch = paths[f"{_PODS}/{{name}}"].patch
    queries = {each.parameter.non_body_parameter.query_parameter_sub_schema.name for each in patch.parameters}
    assert {"dryRun", "fieldManager"} <= queries
    assert "fieldValidation" not in queries, "kubectl would look for custom resources of kinds that aren't known"
    assert "application/strategic-merge-patch+json" in patch.consumes
    body = paths[_PODS].post.parameters[0].parameter.body_parameter
    assert (body.name, body.required, body.schema._ref) == ("body", True, "#/definitions/io.k8s.api.core.v1.Pod")
    code = paths[_PODS].get.responses.response_code[0]
    assert (code.name, code.value.response.schema.schema._ref) == ("200", "#/definitions/io.k8s.api.core.v1.PodList")


def test_a_reference_with_more_to_it_stays_one_in_v2(spec):
    strategy = spec["definitions"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"]
    assert strategy["$ref"] == "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy"
    assert strategy["x-kubernetes-patch-strategy"] == "retainKeys"
    assert b"allOf" not in openapi.of(discovery.built_in()).v2().body


def test_subresources_take_their_own_types(spec):
    scale = spec["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["put"]
    assert scale["x-kubernetes-group-version-kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    eviction = spec["paths"][f"{_PODS}/{{name}}/eviction"]["post"]
    assert eviction["parameters"][0]["schema"] == {"$ref": "#/definitions/io.k8s.api.policy.v1.Eviction"}


def test_operations_are_told_apart_by_their_ids(spec):
    ids = [
        operation["operationId"]
        for path, item in spec["paths"].items()
        for method, operation in item.items()
        if method != "parameters" and not (method == "get" and "{namespace}" not in path)
    ]
    assert len(ids) == len(set(ids))


def test_large_documents_are_compressed_once():
    document = openapi.of(discovery.built_in()).v2()
    assert document.compressed is not None
    assert len(document.compressed) < len(document.body) / 5
    assert document.compressed is document.compressed
    assert openapi.of(discovery.built_in()).index().compressed is None
