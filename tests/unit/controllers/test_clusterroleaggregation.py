from typing import Any

from hypernetes.api.models.rbac_v1 import ClusterRole
from hypernetes.controllers.clusterroleaggregation import plan
from hypernetes.controllers.writes import Update


def role(name: str, *verbs: str, wants: dict[str, str] | None = None, **labels: str) -> ClusterRole:
    body: dict[str, Any] = {
        "metadata": {"name": name, "labels": labels},
        "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]} for verb in verbs],
    }
    if wants is not None:
        body["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": wants}]}
    return ClusterRole.from_dict(body)


def verbs(writes: list[Any]) -> list[str]:
    (write,) = writes
    assert isinstance(write, Update)
    return [rule.verbs[0] for rule in write.obj.rules]  # type: ignore[attr-defined]


def test_it_holds_the_rules_of_all_that_are_selected_each_once_in_the_order_of_names() -> None:
    whole = role("whole", "stale", wants={"part": "yes"}, part="yes")
    parts = [role("b", "list", "get", part="yes"), role("a", "get", "watch", part="yes"), role("c", "delete")]
    assert verbs(plan(whole, [whole, *parts])) == ["get", "watch", "list"]


def test_with_nothing_selected_it_holds_nothing() -> None:
    whole = role("whole", "get", wants={"part": "yes"})
    assert verbs(plan(whole, [whole])) == []


def test_what_is_as_it_should_be_is_not_written() -> None:
    whole = role("whole", "get", wants={"part": "yes"})
    assert plan(whole, [whole, role("a", "get", part="yes")]) == []
    assert plan(role("plain", "get"), [role("a", "list")]) == []
