"""Decoding and defaults give what upstream's API server stored, but for what its strategies and admission add."""

import copy
import json

from hypernetes.apiserver import schema

_SERVER_OWNED = ("uid", "resourceVersion", "creationTimestamp", "generation", "namespace", "managedFields", "name")
_BY_ADMISSION = {
    "Pod": ("preemptionPolicy", "priority", "serviceAccount", "serviceAccountName", "tolerations"),
    "Node": ("taints",),
    "Service": ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"),
    "Namespace": ("finalizers",),
    "PersistentVolumeClaim": ("dataSource", "dataSourceRef"),
    "CertificateSigningRequest": ("username", "uid", "groups"),
    "Lease": ("strategy", "preferredHolder"),  # behind a feature gate
}


def _comparable(obj):
    obj = copy.deepcopy(obj)
    for key in _SERVER_OWNED:
        obj["metadata"].pop(key, None)
    for key in _BY_ADMISSION.get(obj["kind"], ()):
        obj.get("spec", {}).pop(key, None)
    if obj["kind"] == "Service":
        for port in obj["spec"].get("ports", ()):
            port.pop("nodePort", None)
    if obj["kind"] == "APIService":
        obj["spec"].get("service", {}).pop("port", None)
    if obj["kind"] == "Pod":
        obj.pop("status")
    if obj["kind"] in ("PersistentVolume", "PersistentVolumeClaim", "VolumeAttributesClass"):
        obj["metadata"].pop("finalizers", None)
        obj.get("status", {}).pop("lastPhaseTransitionTime", None)
    if obj["kind"] == "DaemonSet":
        obj["metadata"].pop("annotations", None)  # the template's generation, as extensions/v1beta1 had it
    if obj["kind"] == "Job" and not obj["spec"]["manualSelector"]:
        obj["metadata"].pop("labels", None)  # the job's UID, in its selector, its template and itself
        obj["spec"].pop("selector", None)
        obj["spec"]["template"]["metadata"].pop("labels", None)
    return obj


def test_what_is_read_back_is_what_upstream_stores(recordings):
    compared = 0
    for sequence in recordings("defaulting"):
        if "on-create" in sequence["case"]:
            continue  # what a client may not say at all is the strategies'
        for step in sequence["steps"]:
            body, answer = step.get("body"), step["expect"].get("body")
            if step["method"] != "POST" or not isinstance(answer, dict) or answer.get("kind") != body["kind"]:
                continue
            kind = schema.for_kind(body["apiVersion"], body["kind"])
            obj, warnings = kind.decode(json.dumps(body).encode(), "Strict")
            kind.default(obj)
            assert (warnings, kind.validate(obj)) == ([], []), sequence["id"]
            assert _comparable(obj) == _comparable(answer), sequence["id"]
            compared += 1
    assert compared >= 60


def test_defaults_change_nothing_the_second_time(recordings):
    for sequence in recordings("defaulting"):
        for step in sequence["steps"]:
            body = step.get("body")
            if step["method"] != "POST" or not isinstance(step["expect"].get("body"), dict):
                continue
            kind = schema.for_kind(body["apiVersion"], body["kind"])
            once = kind.default(kind.decode(body)[0])
            again = kind.default(kind.decode(json.dumps(once).encode())[0])
            assert again == once, sequence["id"]


def test_unknown_fields_and_wrong_kinds_are_answered_as_upstream_does(recordings):
    compared = 0
    for sequence in recordings("validation"):
        if not sequence["case"].endswith("-unknown-fields"):
            continue
        kind = None
        for step in sequence["steps"]:
            mode = step.get("query", {}).get("fieldValidation", "Warn")
            if step["method"] != "POST" or mode == "Odd" or step["expect"]["status"] in (403, 409, 422):
                continue
            body = step["body"]
            kind = kind or schema.for_kind(body["apiVersion"], body["kind"])
            try:
                _, warnings = kind.decode(json.dumps(body).encode(), mode)
                got = (201, len(warnings))
            except Exception as error:
                got = (error.code, 0)
            # Endpoints are deprecated as a whole, which is a warning of its own.
            expected = step["expect"].get("warnings", 0) - (kind.kind == "Endpoints")
            assert got == (step["expect"]["status"], expected), (sequence["id"], body)
            compared += 1
    assert compared >= 50
