from hypernetes.apiserver.authz import defaultroles
from hypernetes.apiserver.sharedroles import with_what_is_missing

WANTED = next(obj for _, obj in defaultroles.objects() if obj["metadata"]["name"] == "system:node-proxier")
BOUND = next(obj for name, obj in defaultroles.objects() if name == "clusterrolebindings" and len(obj["subjects"]) == 2)


def test_what_is_as_it_should_be_stays_as_it_is() -> None:
    assert with_what_is_missing(WANTED, WANTED) == WANTED
    extra = {"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["widgets"]}
    more = {**WANTED, "rules": [*WANTED["rules"], extra]}
    assert with_what_is_missing(more, WANTED) == more


def test_a_role_gets_back_what_it_lacks_and_no_more() -> None:
    less = {**WANTED, "rules": WANTED["rules"][1:]}
    repaired = with_what_is_missing(less, WANTED)
    assert repaired["rules"][: len(less["rules"])] == less["rules"]
    added = {(rule["verbs"][0], rule["resources"][0]) for rule in repaired["rules"][len(less["rules"]) :]}
    first = WANTED["rules"][0]
    assert added == {(verb, resource) for verb in first["verbs"] for resource in first["resources"]}


def test_a_binding_gets_back_its_subjects() -> None:
    less = {**BOUND, "subjects": BOUND["subjects"][:1]}
    assert with_what_is_missing(less, BOUND)["subjects"] == BOUND["subjects"]


def test_who_wants_no_updates_has_none() -> None:
    kept = {**WANTED, "rules": [], "metadata": {**WANTED["metadata"], "annotations": {}}}
    assert with_what_is_missing(kept, WANTED) is kept
