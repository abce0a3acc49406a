import pytest

from hypernetes.apiserver import podresources


def container(cpu: str, **more: str) -> dict:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}, **more}


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": [container("1"), container("500m")]}, "1500m"),
        ({"containers": [container("1")], "initContainers": [container("3"), container("2")]}, "3"),
        ({"containers": [container("1")], "initContainers": [container("200m", restartPolicy="Always")]}, "1200m"),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("1", restartPolicy="Always"), container("2")],
            },
            "3",
        ),
        ({"containers": [container("1")], "overhead": {"cpu": "250m"}}, "1250m"),
        ({"containers": [container("1")], "resources": {"requests": {"cpu": "4"}, "limits": {"cpu": "4"}}}, "4"),
    ],
)
def test_a_pod_asks_for_what_runs_at_once(spec, cpu):
    assert podresources.requests(spec) == {"cpu": cpu}
    assert podresources.limits(spec) == {"cpu": cpu}


def test_overhead_is_no_limit_where_there_is_none():
    spec = {"containers": [{"name": "c"}], "overhead": {"cpu": "1"}}
    assert podresources.requests(spec) == {"cpu": "1"}
    assert podresources.limits(spec) == {}
