"""Priority, runtime, storage and ingress classes: what objects get from them."""

from typing import Any

import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver.admission import (
    defaultingressclass,
    defaultstorageclass,
    persistentvolumeclaimresize,
    priority,
    runtimeclass,
    storageobjectinuseprotection,
)
from hypernetes.apiserver.admission.request import DELETE
from tests.unit.apiserver.admission.requests import Object, admitted, asking, made, pod


def refused(*what: Any, **how: Any) -> str:
    plugins = how.pop("by")
    with pytest.raises(StatusError) as caught:
        admitted(asking(*what, **how), *plugins)
    assert caught.value.reason == "Forbidden"
    return caught.value.message


class TestPriority:
    PLUGINS = (priority.PLUGIN, priority.ONE_DEFAULT_CLASS, priority.SYSTEM_CLASSES_STAY)

    @staticmethod
    def cls(name: str, value: int, **parts: Any) -> Object:
        return made("PriorityClass", name, "scheduling.k8s.io/v1", value=value, **parts)

    def of(self, obj: Object, *there: Object) -> tuple[Any, ...]:
        spec = admitted(asking(obj, *there), *self.PLUGINS)["spec"]
        return spec.get("priorityClassName"), spec["priority"], spec["preemptionPolicy"]

    def test_a_pod_has_the_number_of_its_class(self):
        high = self.cls("high", 1000, preemptionPolicy="Never")
        assert self.of(pod(priorityClassName="high"), high) == ("high", 1000, "Never")
        assert self.of(pod(priorityClassName="high", priority=1000), high) == ("high", 1000, "Never")

    def test_without_a_class_it_has_that_of_the_default_or_none(self):
        assert self.of(pod()) == (None, 0, "PreemptLowerPriority")
        assert self.of(pod(), self.cls("high", 9)) == (None, 0, "PreemptLowerPriority")
        assert self.of(pod(), self.cls("usual", 7, globalDefault=True)) == ("usual", 7, "PreemptLowerPriority")

    @pytest.mark.parametrize(
        ("name", "value"), [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)]
    )
    def test_the_system_s_classes_hold_everywhere(self, name, value):
        assert self.of(pod(priorityClassName=name)) == (name, value, "PreemptLowerPriority")
        there = self.cls(name, value)
        assert "system priority class" in refused(there, operation=DELETE, by=self.PLUGINS)
        admitted(asking(self.cls("mine", 1), operation=DELETE), *self.PLUGINS)

    @pytest.mark.parametrize(
        ("spec", "why"),
        [
            ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
            ({"priorityClassName": "high", "priority": 5}, "must not be provided"),
            ({"priority": 5}, "must not be provided"),
            ({"priorityClassName": "high", "preemptionPolicy": "Never"}, "must not be provided"),
        ],
    )
    def test_a_pod_that_contradicts_its_class_is_refused(self, spec, why):
        assert why in refused(pod(**spec), self.cls("high", 1000), by=self.PLUGINS)

    def test_an_update_that_is_silent_keeps_what_was(self):
        old = pod(priority=7, preemptionPolicy="Never")
        spec = admitted(asking(pod(), old=old), *self.PLUGINS)["spec"]
        assert (spec["priority"], spec["preemptionPolicy"]) == (7, "Never")

    def test_there_is_one_default_at_most(self):
        usual = self.cls("usual", 7, globalDefault=True)
        assert "usual is already marked" in refused(self.cls("new", 1, globalDefault=True), usual, by=self.PLUGINS)
        admitted(asking(usual, usual, old=usual), *self.PLUGINS)


class TestRuntimeClass:
    PLUGINS = (runtimeclass.PLUGIN,)
    CLASS = made(
        "RuntimeClass", "big", "node.k8s.io/v1", handler="h", overhead={"podFixed": {"cpu": "250m"}},
        scheduling={"nodeSelector": {"rt": "x"}, "tolerations": [{"key": "rt", "operator": "Exists"}]},
        metadata={"tenant": "system"},
    )  # fmt: skip

    @pytest.mark.parametrize(
        ("name", "handler", "overhead"),
        [("own", "h", {"cpu": "250m"}), ("big", "h", {"cpu": "250m"}), ("own", "other", None)],
    )
    def test_what_a_tenant_s_own_class_costs_is_the_provider_s_to_say(self, name, handler, overhead):
        cheap = {"podFixed": {"cpu": "1m"}}
        own = made("RuntimeClass", name, "node.k8s.io/v1", handler=handler, overhead=cheap)
        spec = admitted(asking(pod(runtimeClassName=name), own, self.CLASS), *self.PLUGINS)["spec"]
        assert spec.get("overhead") == overhead
        with pytest.raises(StatusError):
            admitted(
                asking(pod(runtimeClassName=name, overhead={"cpu": "1m"}), own, self.CLASS), *self.PLUGINS
            )  # fmt: skip

    def test_a_pod_gets_overhead_and_place(self):
        own = {"key": "z", "operator": "Exists"}
        asked = pod(runtimeClassName="big", nodeSelector={"other": "y"}, tolerations=[own])
        spec = admitted(asking(asked, self.CLASS), *self.PLUGINS)["spec"]
        assert spec["overhead"] == {"cpu": "250m"}
        assert spec["nodeSelector"] == {"other": "y", "rt": "x"}
        assert spec["tolerations"] == [own, {"key": "rt", "operator": "Exists"}]

    @pytest.mark.parametrize(
        ("spec", "why"),
        [
            ({"runtimeClassName": "none"}, 'RuntimeClass "none" not found'),
            ({"runtimeClassName": "big", "overhead": {"cpu": "1"}}, "doesn't match"),
            ({"runtimeClassName": "big", "nodeSelector": {"rt": "y"}}, "conflict"),
            ({"overhead": {"cpu": "1"}}, "without corresponding RuntimeClass"),
        ],
    )
    def test_a_pod_that_contradicts_its_class_is_refused(self, spec, why):
        assert why in refused(pod(**spec), self.CLASS, by=self.PLUGINS)

    def test_overhead_is_compared_as_a_number(self):
        admitted(asking(pod(runtimeClassName="big", overhead={"cpu": "0.25"}), self.CLASS), *self.PLUGINS)


@pytest.mark.parametrize(
    ("plugin", "kind", "api_version", "of", "annotation", "field", "former"),
    [
        (
            defaultstorageclass.PLUGIN, "StorageClass", "storage.k8s.io/v1",
            made("PersistentVolumeClaim", "v", spec={}),
            "storageclass.kubernetes.io/is-default-class", "storageClassName",
            "volume.beta.kubernetes.io/storage-class",
        ),
        (
            defaultingressclass.PLUGIN, "IngressClass", "networking.k8s.io/v1",
            made("Ingress", "i", "networking.k8s.io/v1", spec={}),
            "ingressclass.kubernetes.io/is-default-class", "ingressClassName", "kubernetes.io/ingress.class",
        ),
    ],
    ids=["storage", "ingress"],
)  # fmt: skip
def test_the_newest_default_class_is_taken(plugin, kind, api_version, of, annotation, field, former):
    def cls(name: str, day: str, marked: str = "true") -> Object:
        metadata = {"annotations": {annotation: marked}, "creationTimestamp": f"2030-01-{day}T00:00:00Z"}
        return made(kind, name, api_version, metadata=metadata)

    def taken(*there: Object, **spec: Any) -> Any:
        return admitted(asking({**of, "spec": spec}, *there), plugin)["spec"].get(field)

    assert taken() is None
    assert taken(cls("a", "01", "false")) is None
    assert taken(cls("a", "01"), cls("b", "02"), cls("c", "02"), cls("d", "03", "false")) == "b"
    assert taken(cls("a", "01"), **{field: "mine"}) == "mine"
    assert taken(cls("a", "01"), **{field: ""}) == ""
    old_way = {**of, "metadata": {**of["metadata"], "annotations": {former: "x"}}, "spec": {}}
    assert field not in admitted(asking(old_way, cls("a", "01")), plugin)["spec"]


class TestClaims:
    PLUGINS = (persistentvolumeclaimresize.PLUGIN,)

    @staticmethod
    def claim(storage: str, phase: str = "Bound", cls: str | None = "grow") -> Object:
        spec = {"resources": {"requests": {"storage": storage}}, **({"storageClassName": cls} if cls else {})}
        return made("PersistentVolumeClaim", "v", spec=spec, status={"phase": phase})

    @staticmethod
    def cls(name: str, allowed: bool) -> Object:
        return made("StorageClass", name, "storage.k8s.io/v1", provisioner="p", allowVolumeExpansion=allowed)

    def test_a_bound_claim_of_a_class_that_grows_grows(self):
        admitted(asking(self.claim("2Gi"), self.cls("grow", True), old=self.claim("1Gi")), *self.PLUGINS)

    @pytest.mark.parametrize("cls", ["fixed", "none", None])
    def test_others_do_not(self, cls):
        there = (self.cls("grow", True), self.cls("fixed", False))
        assert "support resize" in refused(
            self.claim("2Gi", cls=cls), *there, old=self.claim("1Gi", cls=cls), by=self.PLUGINS
        )

    def test_the_class_may_be_the_provider_s(self):
        shared = self.cls("grow", True)
        shared["metadata"]["tenant"] = "system"
        admitted(asking(self.claim("2Gi"), shared, old=self.claim("1Gi")), *self.PLUGINS)
        hidden = (shared, self.cls("grow", False))
        assert "support resize" in refused(self.claim("2Gi"), *hidden, old=self.claim("1Gi"), by=self.PLUGINS)

    def test_what_is_not_bound_does_not(self):
        assert "Only bound" in refused(
            self.claim("2Gi", "Pending"), self.cls("grow", True), old=self.claim("1Gi", "Pending"), by=self.PLUGINS
        )

    def test_the_same_size_in_other_words_is_no_growth(self):
        admitted(asking(self.claim("1024Mi", cls=None), old=self.claim("1Gi", cls=None)), *self.PLUGINS)

    @pytest.mark.parametrize(
        ("kind", "finalizer"),
        [
            ("PersistentVolumeClaim", "kubernetes.io/pvc-protection"),
            ("PersistentVolume", "kubernetes.io/pv-protection"),
        ],
    )
    def test_what_is_in_use_stays(self, kind, finalizer):
        done = admitted(asking(made(kind, "v", metadata={"finalizers": ["x/y"]})), storageobjectinuseprotection.PLUGIN)
        assert done["metadata"]["finalizers"] == ["x/y", finalizer]


def test_the_provider_s_default_storage_class_counts_where_the_tenant_has_none_of_its_own() -> None:
    mark = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}

    def taken(*there: Object) -> Any:
        claim = made("PersistentVolumeClaim", "v", spec={})
        return admitted(asking(claim, *there), defaultstorageclass.PLUGIN)["spec"].get("storageClassName")

    def cls(name: str, **metadata: Any) -> Object:
        return made("StorageClass", name, "storage.k8s.io/v1", metadata=metadata)

    shared = cls("shared", tenant="system", **mark)
    assert taken(shared) == "shared"
    assert taken(shared, cls("own", **mark)) == "own"
    assert taken(shared, cls("own")) == "shared"
    assert taken(shared, cls("shared")) is None, "the tenant's own object of that name hides it"
