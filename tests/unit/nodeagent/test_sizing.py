"""How large a pod's machine is."""

from typing import Any

import pytest

from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent import sizing
from hypernetes.nodeagent.sizing import MEBIBYTE


def pod(*resources: dict[str, Any]) -> Pod:
    containers = [{"name": f"c{number}", "image": "x", "resources": each} for number, each in enumerate(resources)]
    return Pod.model_validate({"metadata": {"name": "p"}, "spec": {"containers": containers}})


@pytest.mark.parametrize(
    ("resources", "mebibytes", "cpus"),
    [
        ([{}], 192, 1),
        ([{"limits": {"memory": "64Mi", "cpu": "1500m"}}], 128, 2),
        ([{"requests": {"memory": "64Mi"}}], 192, 1),  # never less than without
        ([{"requests": {"memory": "400Mi", "cpu": "3"}}], 512, 3),
        ([{"requests": {"memory": "400Mi"}, "limits": {"memory": "600Mi"}}], 1024, 1),
        ([{}, {"requests": {"memory": "256Mi", "cpu": "700m"}, "limits": {"cpu": "1200m"}}], 512, 2),
    ],
)
def test_a_container_counts_with_its_limit_or_else_with_what_it_requests(resources, mebibytes, cpus):
    made = pod(*resources)
    assert (sizing.memory_bytes(made) // MEBIBYTE, sizing.cpus(made)) == (mebibytes, cpus)
