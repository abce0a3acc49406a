"""What is counted of requests, and how Prometheus is told."""

from prometheus_client.parser import text_string_to_metric_families

from hypernetes.api import scheme
from hypernetes.apiserver import routing
from hypernetes.apiserver.metrics import Metrics

PODS = scheme.by_name("v1", "pods")


def samples(metrics, under_way=(), stored=()):
    """(name, labels that aren't empty) -> value."""
    body, content_type = metrics.render("", under_way, stored)()
    assert content_type.startswith("text/plain")
    return {
        (sample.name, tuple(sorted((key, value) for key, value in sample.labels.items() if value))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def target(metrics, method, path, query=None):
    return metrics.target(routing.parse(method, path, query or {}))


def named(found, name, **labels):
    """The one sample with these labels among others."""
    fitting = [value for (each, has), value in found.items() if each == name and labels.items() <= dict(has).items()]
    assert len(fitting) == 1, (name, labels, fitting)
    return fitting[0]


def test_requests_are_counted_by_what_they_are_about_and_how_they_ended():
    metrics = Metrics()
    target(metrics, "GET", "/api/v1/namespaces/a/pods/p").finished(200, 0.01, 3000)
    target(metrics, "GET", "/api/v1/namespaces/b/pods/q").finished(200, 0.03, 3000)
    target(metrics, "GET", "/api/v1/namespaces/b/pods/r").finished(404, 0.2, 200)
    target(metrics, "POST", "/api/v1/namespaces/b/pods").finished(201, 0.2, 3000, "All")
    found = samples(metrics)
    about = {"verb": "GET", "resource": "pods", "version": "v1", "scope": "resource", "component": "apiserver"}
    assert named(found, "apiserver_request_total", code="200", **about) == 2
    assert named(found, "apiserver_request_total", code="404", **about) == 1
    assert named(found, "apiserver_request_total", verb="POST", dry_run="All", code="201") == 1
    assert named(found, "apiserver_request_duration_seconds_bucket", le="0.025", **about) == 1
    assert named(found, "apiserver_request_duration_seconds_bucket", le="0.05", **about) == 2
    assert named(found, "apiserver_request_duration_seconds_bucket", le="+Inf", **about) == 3
    assert round(named(found, "apiserver_request_duration_seconds_sum", **about), 6) == 0.24
    assert named(found, "apiserver_response_sizes_bucket", le="1000", **about) == 1
    assert named(found, "apiserver_response_sizes_sum", **about) == 6200


def test_scopes_and_verbs_are_named_as_upstream_names_them():
    metrics = Metrics()
    for method, path, query, expected in [
        ("GET", "/api/v1/pods", {}, ("LIST", "pods", "", "cluster")),
        ("GET", "/api/v1/namespaces/a/pods", {"watch": "1"}, ("WATCH", "pods", "", "namespace")),
        ("DELETE", "/apis/apps/v1/namespaces/a/deployments", {}, ("DELETECOLLECTION", "deployments", "", "namespace")),
        ("PUT", "/apis/apps/v1/namespaces/a/deployments/d/scale", {}, ("PUT", "deployments", "scale", "resource")),
        ("POST", "/api/v1/namespaces/a/pods/p/exec", {}, ("CONNECT", "pods", "exec", "resource")),
        ("POST", "/api/v1/namespaces/a/pods", {}, ("POST", "pods", "", "resource")),
        ("GET", "/readyz", {}, ("GET", "", "/readyz", "")),
        ("BREW", "/some/secret", {}, ("other", "", "", "")),
    ]:
        verb, _, _, resource, subresource, scope, _ = target(metrics, method, path, query).labels
        assert (verb, resource, subresource, scope) == expected


def test_what_is_meant_to_last_is_told_apart_from_what_is_in_flight():
    metrics = Metrics()
    watch = target(metrics, "GET", "/api/v1/pods", {"watch": "1"})
    get = target(metrics, "GET", "/api/v1/namespaces/a/pods/p")
    create = target(metrics, "POST", "/api/v1/namespaces/a/pods")
    found = samples(metrics, [watch, watch, get, create, create, create])
    assert named(found, "apiserver_longrunning_requests", verb="WATCH", resource="pods") == 2
    assert named(found, "apiserver_current_inflight_requests", request_kind="readOnly") == 1
    assert named(found, "apiserver_current_inflight_requests", request_kind="mutating") == 3


def test_stored_objects_and_sent_events_are_counted():
    metrics = Metrics()
    metrics.watched(PODS, 3)
    metrics.watched(PODS, 4)
    found = samples(metrics, stored=[(PODS, 11)])
    assert named(found, "apiserver_watch_events_total", kind="Pod") == 7
    assert named(found, "apiserver_storage_objects", resource="pods") == 11
    assert named(found, "process_resident_memory_bytes") > 0
    assert named(found, "kubernetes_build_info", major="1") == 1


def test_a_client_may_ask_for_openmetrics():
    _, content_type = Metrics().render("application/openmetrics-text; version=1.0.0", (), ())()
    assert content_type.startswith("application/openmetrics-text")
