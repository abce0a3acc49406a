import json
from datetime import UTC, datetime, timedelta

import pytest

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.apiserver import schema, tables
from hypernetes.apiserver.registry import jobs
from hypernetes.apiserver.tables import ages, endpoints, labels

NOW = datetime(2030, 1, 1, tzinfo=UTC)
BORN = "2029-12-31T23:55:00Z"
POD = scheme.by_kind("v1", "Pod")


def cells(api_version, kind, **parts):
    obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "creationTimestamp": BORN}, **parts}
    table = tables.table(scheme.by_kind(api_version, kind), [obj], now=NOW)
    names = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=True))


def pod(status=None, metadata=None, **spec):
    obj = {
        "kind": "Pod",
        "metadata": {"name": "x", "creationTimestamp": BORN, **(metadata or {})},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], **spec},
        "status": {"phase": "Running", **(status or {})},
    }
    name, ready, reason, restarts, *_ = tables.table(POD, [obj], now=NOW)["rows"][0]["cells"]
    assert name == "x"
    return ready, reason, restarts


def container(name="a", ready=False, restarts=0, ended=None, **state):
    last = {"lastState": {"terminated": {"finishedAt": ended}}} if ended else {}
    return {"name": name, "ready": ready, "restartCount": restarts, "state": state, **last}


def _stored(step):
    """What the API server would hold after a recorded POST, without what only a running server adds."""
    body = step["body"]
    kind = schema.for_kind(body["apiVersion"], body["kind"])
    obj = kind.default(kind.decode(json.dumps(body).encode())[0])
    obj["metadata"]["creationTimestamp"] = BORN
    if body["kind"] == "Job":
        obj["metadata"]["uid"] = "u"
        jobs.prepare_create(obj)
    if "status" in obj and body["kind"] not in ("Node", "Namespace"):
        pending = body["kind"] in ("Pod", "PersistentVolume", "PersistentVolumeClaim")
        obj["status"] = {"phase": "Pending"} if pending else {}
    if body["kind"] == "CertificateSigningRequest":
        obj["spec"]["username"] = "admin"
    return obj


def _same(cell, expected):
    allocated = isinstance(expected, str) and any(mask in expected for mask in ("<ip", "<port", "<uid", "<time"))
    return cell == expected or allocated or (isinstance(expected, str) and "<age>" in expected)


def test_rows_are_those_of_upstream(recordings):
    compared = 0
    for sequence in recordings("lists"):
        if not sequence["case"].startswith("table-"):
            continue
        stored = {}
        for step in sequence["steps"]:
            answer = step["expect"].get("body")
            if step["method"] == "POST":
                stored[step["body"]["metadata"]["name"]] = _stored(step)
            elif step["method"] == "PATCH":
                stored[step["path"].split("/")[-2]]["status"].update(step["body"]["status"])
            elif isinstance(answer, dict) and answer.get("kind") == "Table":
                for row in answer["rows"] or ():
                    obj = stored.get(((row.get("object") or {}).get("metadata") or {}).get("name"))
                    if obj is None:
                        continue
                    ours = tables.table(scheme.by_kind(obj["apiVersion"], obj["kind"]), [obj], now=NOW)
                    columns = [{k: v for k, v in c.items() if k != "description"} for c in ours["columnDefinitions"]]
                    assert columns == answer["columnDefinitions"], sequence["id"]
                    pairs = list(zip(ours["rows"][0]["cells"], row["cells"], strict=True))
                    assert all(_same(*pair) for pair in pairs), (sequence["id"], pairs)
                    assert ours["rows"][0].get("conditions") == row.get("conditions"), sequence["id"]
                    compared += 1
    assert compared >= 50


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-10, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"),
        (10799, "179m"), (10800, "3h"), (11000, "3h3m"), (28800, "8h"), (172799, "47h"), (172800, "2d"),
        (180000, "2d2h"), (691200, "8d"), (63072000, "2y"), (63158400, "2y1d"), (252288000, "8y"), (1e12, "31709y"),
    ],
)  # fmt: skip
def test_an_age_has_at_most_two_units(seconds, shown):
    assert ages.duration(seconds) == shown


def test_a_missing_time_is_unknown():
    assert ages.since(None, NOW) == "<unknown>"


def test_a_running_pod_counts_its_ready_containers():
    statuses = [container("a", True, running={}), container("b", running={})]
    assert pod({"containerStatuses": statuses}) == ("1/2", "Running", "0")


def test_the_last_restart_is_told_with_the_count():
    ended = (NOW - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    statuses = [container("a", True, 2, ended, running={}), container("b", True, 1, running={})]
    assert pod({"containerStatuses": statuses}) == ("2/2", "Running", "3 (5m ago)")


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ({"waiting": {"reason": "ErrImagePull"}}, "ErrImagePull"),
        ({"terminated": {"reason": "Error", "exitCode": 1}}, "Error"),
        ({"terminated": {"exitCode": 3}}, "ExitCode:3"),
        ({"terminated": {"exitCode": 137, "signal": 9}}, "Signal:9"),
    ],
)
def test_a_container_that_is_not_running_says_why(state, shown):
    assert pod({"containerStatuses": [container(**state)]})[1] == shown


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ({"running": {}}, "Init:0/2"),
        ({"waiting": {"reason": "PodInitializing"}}, "Init:0/2"),
        ({"waiting": {"reason": "ImagePullBackOff"}}, "Init:ImagePullBackOff"),
        ({"terminated": {"exitCode": 2}}, "Init:ExitCode:2"),
        ({"terminated": {"exitCode": 2, "reason": "Error"}}, "Init:Error"),
    ],
)
def test_an_init_container_that_is_not_done_says_why(state, shown):
    spec = {"initContainers": [{"name": "i"}, {"name": "j"}]}
    assert pod({"phase": "Pending", "initContainerStatuses": [container("i", **state)]}, **spec)[1] == shown


def test_a_sidecar_counts_as_a_container():
    spec = {"initContainers": [{"name": "i", "restartPolicy": "Always"}]}
    init = {**container("i", True, running={}), "started": True}
    statuses = [container("a", True, running={}), container("b", True, running={})]
    assert pod({"initContainerStatuses": [init], "containerStatuses": statuses}, **spec)[:2] == ("3/3", "Running")


def test_one_completed_container_of_two_does_not_complete_the_pod():
    statuses = [container("a", terminated={"reason": "Completed", "exitCode": 0}), container("b", True, running={})]
    assert pod({"containerStatuses": statuses})[1] == "NotReady"
    ready = [{"type": "Ready", "status": "True"}]
    assert pod({"containerStatuses": statuses, "conditions": ready})[1] == "Running"


def test_a_deleted_pod_is_terminating_until_it_has_finished():
    deleted = {"deletionTimestamp": BORN}
    assert pod(metadata=deleted)[1] == "Terminating"
    assert pod({"reason": "NodeLost"}, deleted)[1] == "Unknown"
    assert pod({"phase": "Succeeded"}, deleted)[1] == "Succeeded"


def test_a_gated_pod_says_so():
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]
    assert pod({"phase": "Pending", "conditions": conditions})[1] == "SchedulingGated"


def test_a_node_tells_its_readiness_roles_and_addresses():
    shown = cells(
        "v1", "Node",
        spec={"unschedulable": True},
        status={
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.1.1.1"}],
            "nodeInfo": {"kubeletVersion": "v1", "osImage": "Linux"},
        },
    )  # fmt: skip
    assert (shown["Status"], shown["Roles"], shown["Internal-IP"]) == ("Ready,SchedulingDisabled", "<none>", "10.1.1.1")
    assert (shown["External-IP"], shown["OS-Image"], shown["Kernel-Version"]) == ("<none>", "Linux", "<unknown>")


@pytest.mark.parametrize(
    ("spec", "status", "external"),
    [
        ({"type": "ClusterIP"}, {}, "<none>"),
        ({"type": "ExternalName", "externalName": "a.example"}, {}, "a.example"),
        ({"type": "LoadBalancer"}, {}, "<pending>"),
        ({"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "h"}]}}, "1.2.3.4,h"),
        ({"type": "NetworkProvider", "externalIPs": ["5.6.7.8"]}, {}, "5.6.7.8"),
    ],
)
def test_a_service_tells_its_external_address_by_its_type(spec, status, external):
    shown = cells("v1", "Service", spec={"clusterIP": "10.0.0.1", **spec}, status=status)
    assert (shown["External-IP"], shown["Port(s)"]) == (external, "<none>")


def test_long_lists_are_cut_after_three():
    assert labels.first_few("abcde", "<none>") == "a,b,c + 2 more..."
    subset = {"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}]}
    obj = {"metadata": {"name": "x", "creationTimestamp": BORN}, "subsets": [subset]}
    assert endpoints.endpoints(obj, NOW)[1] == "10.0.0.1:80,[fd00::1]:80"


def test_a_selector_reads_as_on_the_command_line():
    rules = [
        {"key": "b", "operator": "In", "values": ["2", "1"]},
        {"key": "c", "operator": "Exists"},
        {"key": "d", "operator": "DoesNotExist"},
    ]
    assert labels.selector({"matchLabels": {"a": "x"}, "matchExpressions": rules}) == "a=x,b in (1,2),c,!d"
    assert labels.selector({}) == "<none>"


def test_an_event_that_repeats_shows_its_series():
    shown = cells(
        "v1", "Event", involvedObject={"kind": "Pod", "name": "p"}, eventTime=BORN,
        series={"count": 7, "lastObservedTime": "2029-12-31T23:59:00Z"}, reportingComponent="c", reportingInstance="i",
    )  # fmt: skip
    assert (shown["Last Seen"], shown["First Seen"], shown["Count"]) == ("60s", "5m", 7)
    assert (shown["Object"], shown["Source"]) == ("pod/p", "c, i")


def test_our_own_kinds_have_rows():
    shown = cells(
        "hypernetes.io/v1", "Network", spec={"subnets": {"a": {"cidr": "10.0.0.0/24"}}}, status={"phase": "Active"}
    )
    assert (shown["Subnets"], shown["Status"]) == ("10.0.0.0/24", "Active")
    spec = {"network": "default", "address": "10.0.0.5", "podRef": {"namespace": "web", "name": "p"}}
    shown = cells("hypernetes.io/v1", "Port", spec=spec)
    assert (shown["Pod"], shown["Node"]) == ("web/p", "<none>")
    assert cells("hypernetes.io/v1", "Tenant", status={"phase": "Active"})["Phase"] == "Active"


def test_every_served_kind_has_a_row_for_a_bare_object():
    for resource in scheme.served():
        if "list" in resource.verbs:
            obj = {"kind": resource.kind, "metadata": {"name": "x", "creationTimestamp": BORN}}
            table = tables.table(resource, [obj], now=NOW)
            extra = resource.kind == "IPAddress"  # whose age has no column; as upstream
            assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"]) + extra


def test_a_row_holds_as_much_of_the_object_as_was_asked_for():
    obj = {"kind": "ConfigMap", "metadata": {"name": "x", "creationTimestamp": BORN}, "data": {"a": "1"}}
    resource = scheme.by_kind("v1", "ConfigMap")

    def row(include):
        return tables.table(resource, [obj], include, now=NOW)["rows"][0]["object"]

    assert row("None") is None
    assert row("Object") == obj
    assert row("Metadata")["kind"] == "PartialObjectMetadata"
    with pytest.raises(StatusError) as error:
        tables.table(resource, [], "Odd")
    assert error.value.code == 400


def test_a_metadata_list_without_items_says_null():
    assert tables.partial_metadata_list([], {"resourceVersion": "5"})["items"] is None
    assert tables.partial_metadata_list([{"metadata": {"name": "x"}}], {})["items"][0]["metadata"] == {"name": "x"}
