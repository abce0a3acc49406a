"""What is taken, and deprecated or seldom meant: how many warnings a new object gets."""

from typing import Any

import pytest

from tests.unit.apiserver.registry.changes import Object, changed, completed, strategy_of
from tests.unit.apiserver.registry.test_networking import made
from tests.unit.apiserver.registry.test_policies import NODE, RUNTIME
from tests.unit.apiserver.registry.test_storage import CLAIM, CLASS, CSI, DRIVER, VOLUME

ACCOUNT = made("v1", "ServiceAccount")
SERVICE = made("v1", "Service", spec={"ports": [{"port": 80}]})
OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"
TERM = {"matchExpressions": [{"key": OLD_ZONE, "operator": "In", "values": ["a"]}]}
OLD_CLASS = {"volume.beta.kubernetes.io/storage-class": "s"}

CASES: list[tuple[Object, str, Any, int]] = [
    (VOLUME, "spec.persistentVolumeReclaimPolicy", "Recycle", 1),
    (VOLUME, "spec.nodeAffinity", {"required": {"nodeSelectorTerms": [TERM]}}, 1),
    (VOLUME, "metadata.annotations", OLD_CLASS, 1),
    (changed(CSI, "spec.csi", None), "spec.rbd", {"monitors": ["m"], "image": "i"}, 1),
    (CLAIM, "metadata.annotations", OLD_CLASS, 1),
    (CLAIM, "spec.resources.requests.storage", "1500m", 1),
    (CLASS, "allowedTopologies", [{"matchLabelExpressions": [{"key": OLD_ZONE, "values": ["a"]}]}], 1),
    (RUNTIME, "scheduling", {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}, 1),
    (DRIVER, "spec.tokenRequests", [{"audience": "a"}], 1),
    (NODE, "spec.externalID", "x", 1),
    (ACCOUNT, "metadata.annotations", {"kubernetes.io/enforce-mountable-secrets": "true"}, 1),
    (SERVICE, "spec.externalIPs", ["1.2.3.4"], 1),
    (SERVICE, "spec.trafficDistribution", "PreferClose", 1),
    (changed(SERVICE, "spec.clusterIP", "None"), "spec.sessionAffinity", "ClientIP", 1),
    (changed(SERVICE, "spec.clusterIP", "None"), "spec.externalIPs", ["1.2.3.4"], 1),
]


@pytest.mark.parametrize(("obj", "path", "value", "count"), CASES)
def test_a_change_is_warned_of(obj: Object, path: str, value: Any, count: int) -> None:
    strategy = strategy_of(obj)
    assert strategy.warnings(completed(obj), None) == []
    assert len(strategy.warnings(completed(changed(obj, path, value)), None)) == count
