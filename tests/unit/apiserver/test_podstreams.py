import pytest
from multidict import MultiDict

from hypernetes.api.status import StatusError
from hypernetes.apiserver import podstreams


def pod(*names, inits=(), node="n1", phase="Running"):
    return {
        "metadata": {"name": "web"},
        "spec": {
            "nodeName": node,
            "containers": [{"name": name} for name in names],
            "initContainers": [{"name": name} for name in inits],
        },
        "status": {"phase": phase},
    }


def refused(call, *arguments):
    with pytest.raises(StatusError) as error:
        call(*arguments)
    return error.value


def test_the_only_container_needs_no_name():
    assert podstreams.log(pod("a"), {}).container == "a"


def test_one_of_several_must_be_named():
    error = refused(podstreams.log, pod("a", "b", inits=("i",)), {})
    assert error.code == 400
    assert error.message == (
        "a container name must be specified for pod web, choose one of: [a b] or one of the init containers: [i]"
    )
    assert podstreams.log(pod("a", "b", inits=("i",)), {"container": "i"}).container == "i"


def test_a_container_that_is_not_there_is_a_bad_request():
    error = refused(podstreams.log, pod("a"), {"container": "z"})
    assert (error.code, error.message) == (400, "container z is not valid for pod web")


def test_log_options_are_passed_on():
    stream = podstreams.log(pod("a"), {"follow": "true", "previous": "false", "tailLines": "0", "pretty": "x"})
    assert stream.follow
    assert stream.query == [("follow", "true"), ("tailLines", "0")]


@pytest.mark.parametrize("options", [{"tailLines": "-1"}, {"sinceSeconds": "0"}, {"limitBytes": "0"}])
def test_log_options_out_of_range_are_invalid(options):
    error = refused(podstreams.log, pod("a"), options)
    assert (error.code, error.details) == (422, {"name": "web", "kind": "PodLogOptions"})
    assert [each["field"] for each in error.causes] == list(options)


def test_two_beginnings_of_a_log_are_one_too_many():
    options = {"sinceSeconds": "5", "sinceTime": "2020-01-01T00:00:00Z"}
    assert refused(podstreams.log, pod("a"), options).causes[0]["reason"] == "FieldValueForbidden"


@pytest.mark.parametrize("options", [{"tailLines": "x"}, {"tailLines": "9" * 30}, {"sinceTime": "yesterday"}])
def test_log_options_that_can_not_be_read_are_a_bad_request(options):
    assert refused(podstreams.log, pod("a"), options).code == 400


def test_a_command_is_passed_on_word_by_word():
    query = MultiDict([("command", "sh"), ("command", "-c"), ("stdin", "true"), ("stdout", "1"), ("stderr", "false")])
    stream = podstreams.execution(pod("a"), query)
    assert stream.query == [("command", "sh"), ("command", "-c"), ("stdin", "true"), ("stdout", "true")]


def test_a_terminal_has_no_stderr():
    query = MultiDict(command="sh", stdout="true", stderr="true", tty="true")
    assert podstreams.execution(pod("a"), query).query == [("command", "sh"), ("stdout", "true"), ("tty", "true")]


@pytest.mark.parametrize(
    ("target", "query"),
    [
        (pod("a"), MultiDict(stdout="true")),
        (pod("a"), MultiDict(command="ls")),
        (pod("a", node=""), MultiDict(command="ls", stdout="true")),
        (pod("a", phase="Succeeded"), MultiDict(command="ls", stdout="true")),
        (pod("a", "b"), MultiDict(command="ls", stdout="true")),
    ],
)
def test_what_can_not_be_run_is_a_bad_request(target, query):
    assert refused(podstreams.execution, target, query).code == 400


def test_attaching_needs_no_command():
    assert podstreams.attachment(pod("a"), MultiDict(stdin="true")).query == [("stdin", "true")]


def test_the_best_common_subprotocol_is_chosen():
    assert podstreams.choose_protocol("v4.channel.k8s.io, v5.channel.k8s.io") == "v5.channel.k8s.io"
    assert podstreams.choose_protocol("channel.k8s.io,v4.channel.k8s.io") == "v4.channel.k8s.io"
    assert refused(podstreams.choose_protocol, "").code == 400
