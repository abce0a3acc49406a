"""metrics.k8s.io: what pods and nodes use now, as `kubectl top` shows it and autoscaling goes by it.

A tenant sees its own pods, and of a node what its own pods use there: the whole would tell of other tenants' load. The
provider sees a node as its machine is.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import orjson
from aiohttp import web

from hypernetes.api import scheme, times
from hypernetes.api.status import not_found
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import codec
from hypernetes.apiserver.handlers import negotiation, options, reading
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.mirror import Entry
from hypernetes.apiserver.registry import nodes
from hypernetes.apiserver.usage import NOTHING, Amounts, NodeReport, PodReport, Span

Object = dict[str, Any]

_PODS, _NODES = scheme.by_name("v1", "pods"), scheme.by_name("v1", "nodes")
_AT_A_TIME = 500  # objects made before others get their turn
_ZERO = Span("", 0.0)


async def list_pods(call: Call) -> web.StreamResponse:
    mirror = call.parts.mirror
    match = call.seen(options.list_options(call.http.query, call.resource, watch=False).matcher())
    within = mirror.keys.range(_PODS, call.tenant, call.route.namespace)
    found = [entry for entry in mirror.range(within) if match is None or match(entry)]
    return await _list(call, await _pods(call, found))


async def get_pod(call: Call) -> web.StreamResponse:
    found = call.parts.mirror.object(_PODS, call.one_tenant, call.route.namespace, call.route.name)
    return _one(call, await _pods(call, [found] if found is not None else []))


async def list_nodes(call: Call) -> web.StreamResponse:
    mirror = call.parts.mirror
    shown = nodes.shown_labels if _is_guest(call) else None
    match = call.seen(options.list_options(call.http.query, call.resource, watch=False).matcher(shown))
    every = mirror.range(mirror.keys.range(_NODES, SYSTEM_TENANT))
    return await _list(call, await _nodes(call, [entry for entry in every if match is None or match(entry)]))


async def get_node(call: Call) -> web.StreamResponse:
    found = call.parts.mirror.object(_NODES, SYSTEM_TENANT, "", call.route.name)
    return _one(call, await _nodes(call, [found] if found is not None else []))


async def _list(call: Call, entries: list[Entry]) -> web.StreamResponse:
    accepted = negotiation.accepted(call, of_list=True)
    view = reading.view_for(call, accepted)
    return await reading.answer_list(call, accepted, view, entries, {})


def _one(call: Call, entries: list[Entry]) -> web.StreamResponse:
    accepted = negotiation.accepted(call)
    if not entries:
        raise not_found(call.resource.group_resource, call.route.name)
    view = reading.view_for(call, accepted)
    return reading.answer_one(accepted, view, entries[0])


def _is_guest(call: Call) -> bool:
    """Whether the caller looks at nodes as a tenant."""
    return call.tenant not in (None, SYSTEM_TENANT)


async def _reports(call: Call, names: Iterable[str]) -> dict[str, NodeReport]:
    asked = []
    for name in dict.fromkeys(names):
        entry = call.parts.mirror.object(_NODES, SYSTEM_TENANT, "", name)
        asked.append((name, None if entry is None else orjson.loads(entry.data)))
    return await call.parts.usage.reports(call.parts.dialer, asked)


async def _pods(call: Call, found: list[Entry]) -> list[Entry]:
    """Of those pods that their nodes' agents know something of."""
    reports = await _reports(call, _nodes_of(found))
    made = []
    for number, pod in enumerate(found):
        if number % _AT_A_TIME == _AT_A_TIME - 1:
            await asyncio.sleep(0)
        report = _report(pod, reports)
        if report is not None and pod.name is not None:
            containers = [{"name": name, "usage": each.written()} for name, each in sorted(report.containers.items())]
            made.append(_entry(call, pod, pod.labels, report.span, {"containers": containers}))
    return made


def _nodes_of(pods: Iterable[Entry]) -> set[str]:
    return {pod.fields.get("spec.nodeName") or "" for pod in pods} - {""}


def _report(pod: Entry, reports: dict[str, NodeReport]) -> PodReport | None:
    """What the agent of the pod's node says of this very pod."""
    told = reports.get(pod.fields.get("spec.nodeName") or "")
    return None if told is None else told.pods.get(orjson.loads(pod.data)["metadata"]["uid"])


async def _nodes(call: Call, found: list[Entry]) -> list[Entry]:
    if _is_guest(call):
        return await _shares(call, found)
    reports = await _reports(call, [entry.name.name for entry in found if entry.name is not None])
    made = []
    for node in found:
        report = reports.get(node.name.name) if node.name is not None else None
        if report is not None and report.span is not None and report.total is not None:
            made.append(_entry(call, node, node.labels, report.span, {"usage": report.total.written()}))
    return made


async def _shares(call: Call, found: list[Entry]) -> list[Entry]:
    """What the tenant's own pods use on each node; where it has none, nothing."""
    mirror = call.parts.mirror
    names = {node.name.name for node in found if node.name is not None}
    pods = [
        pod for pod in mirror.range(mirror.keys.range(_PODS, call.tenant)) if pod.fields.get("spec.nodeName") in names
    ]
    having = _nodes_of(pods)
    reports = await _reports(call, having)
    totals: dict[str, Amounts] = {}
    spans: dict[str, Span] = {}
    for pod in pods:
        report, node_name = _report(pod, reports), pod.fields["spec.nodeName"]
        if report is not None:
            totals[node_name] = totals.get(node_name, NOTHING) + report.total
            spans[node_name] = max(spans.get(node_name, _ZERO), report.span, key=lambda span: span.timestamp)
    now = Span(times.format_time(call.parts.clock()), 0.0)
    return [
        _entry(
            call, node, nodes.shown_labels(node.labels), spans.get(node.name.name, now),
            {"usage": totals.get(node.name.name, NOTHING).written()},
        )
        for node in found
        if node.name is not None and (node.name.name in reports or node.name.name not in having)
    ]  # fmt: skip


def _entry(call: Call, of: Entry, labels: Any, span: Span, body: Object) -> Entry:
    assert of.name is not None
    metadata: Object = {"name": of.name.name, "creationTimestamp": span.timestamp}
    if of.name.namespace:
        metadata["namespace"] = of.name.namespace
    if labels:
        metadata["labels"] = dict(labels)
    resource = call.resource
    obj = {
        "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **span.written(), **body
    }  # fmt: skip
    key = call.parts.keys.of(resource, of.name.tenant, of.name.namespace, of.name.name)
    return Entry(key, 0, codec.encode(obj))
