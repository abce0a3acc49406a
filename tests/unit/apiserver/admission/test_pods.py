"""What pods are given and held to: accounts, tolerations, and their namespace's security level."""

from typing import Any

import orjson
import pytest

from hypernetes.api.status import StatusError
from hypernetes.apiserver.admission import (
    defaulttolerationseconds,
    podsecurity,
    podtolerationrestriction,
    serviceaccount,
)
from hypernetes.apiserver.admission.podtolerationrestriction import ALLOWED, DEFAULTS
from hypernetes.apiserver.admission.serviceaccount import MOUNT_PATH
from tests.unit.apiserver.admission.requests import NAMESPACE, Object, admitted, asking, made, pod

P = "pod-security.kubernetes.io/"


def refused(request: Any, *plugins: Any) -> str:
    with pytest.raises(StatusError) as caught:
        admitted(request, *plugins)
    assert caught.value.reason == "Forbidden"
    return caught.value.message


class TestServiceAccount:
    PLUGIN = serviceaccount.PLUGIN
    DEFAULT = made("ServiceAccount", "default")

    def spec(self, asked: Object, *there: Object) -> Object:
        return admitted(asking(asked, *there), self.PLUGIN)["spec"]

    def test_a_pod_has_the_default_account_and_its_token(self):
        spec = self.spec(pod(), self.DEFAULT)
        assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")
        (volume,) = spec["volumes"]
        assert volume["name"].startswith("kube-api-access-")
        assert [next(iter(source)) for source in volume["projected"]["sources"]] == [
            "serviceAccountToken", "configMap", "downwardAPI",
        ]  # fmt: skip
        mount = {"name": volume["name"], "readOnly": True, "mountPath": MOUNT_PATH}
        assert spec["containers"][0]["volumeMounts"] == [mount]

    def test_a_token_is_mounted_once_however_often_the_pod_is_looked_at(self):
        request = asking(pod(), self.DEFAULT)
        once = repr(admitted(request, self.PLUGIN))
        assert repr(admitted(request, self.PLUGIN)) == once

    @pytest.mark.parametrize(
        ("of_pod", "of_account", "mounted"),
        [(None, None, True), (False, None, False), (None, False, False), (True, False, True), (False, True, False)],
    )
    def test_the_pod_s_word_on_the_token_goes_before_the_account_s(self, of_pod, of_account, mounted):
        asked = pod() if of_pod is None else pod(automountServiceAccountToken=of_pod)
        account = self.DEFAULT if of_account is None else {**self.DEFAULT, "automountServiceAccountToken": of_account}
        assert ("volumes" in self.spec(asked, account)) is mounted

    def test_what_a_container_mounts_there_itself_stays(self):
        own = {"name": "v", "mountPath": MOUNT_PATH}
        asked = pod(containers=[{"name": "c", "volumeMounts": [own]}, {"name": "d"}])
        spec = self.spec(asked, self.DEFAULT)
        assert spec["containers"][0]["volumeMounts"] == [own]
        assert spec["containers"][1]["volumeMounts"][0]["mountPath"] == MOUNT_PATH

    def test_pull_secrets_are_the_account_s_unless_the_pod_has_some(self):
        account = made("ServiceAccount", "own", imagePullSecrets=[{"name": "reg"}])
        assert self.spec(pod(serviceAccountName="own"), account)["imagePullSecrets"] == [{"name": "reg"}]
        asked = pod(serviceAccountName="own", imagePullSecrets=[{"name": "mine"}])
        assert self.spec(asked, account)["imagePullSecrets"] == [{"name": "mine"}]

    def test_an_account_that_is_not_there_is_refused(self):
        why = 'error looking up service account web/none: serviceaccounts "none" not found'
        assert why in refused(asking(pod(serviceAccountName="none"), self.DEFAULT), self.PLUGIN)

    @pytest.mark.parametrize(
        "spec",
        [
            {"serviceAccountName": "default"},
            {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
            {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
        ],
    )
    def test_a_mirror_pod_refers_to_nothing(self, spec):
        mirror = pod(**spec)
        mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
        assert "a mirror pod may not" in refused(asking(mirror, self.DEFAULT), self.PLUGIN)

    def test_an_account_may_bound_the_secrets_that_its_pods_mount(self):
        account = made(
            "ServiceAccount", "default", secrets=[{"name": "known"}],
            metadata={"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        )  # fmt: skip
        known = pod(volumes=[{"name": "v", "secret": {"secretName": "known"}}])
        admitted(asking(known, account), self.PLUGIN)
        other = pod(containers=[{"name": "c", "envFrom": [{"secretRef": {"name": "other"}}]}])
        assert 'secret.secretName="other" is not allowed' in refused(asking(other, account), self.PLUGIN)
        admitted(asking(other, self.DEFAULT), self.PLUGIN)


class TestTolerations:
    @pytest.mark.parametrize(
        ("own", "added"),
        [
            ([], ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]),
            ([{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}], ["node.kubernetes.io/unreachable"]),
            ([{"operator": "Exists"}], []),
            (
                [{"operator": "Exists", "effect": "NoSchedule"}],
                ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"],
            ),
        ],
    )
    def test_every_pod_bears_a_lost_node_for_a_while(self, own, added):
        found = admitted(asking(pod(tolerations=own)), defaulttolerationseconds.PLUGIN)["spec"]["tolerations"]
        assert [(each["key"], each["tolerationSeconds"]) for each in found[len(own) :]] == [(k, 300) for k in added]

    @staticmethod
    def namespace(**annotations: Any) -> Object:
        texts = {name: orjson.dumps(value).decode() for name, value in annotations.items()}
        return made("Namespace", NAMESPACE, metadata={"annotations": texts})

    def test_a_namespace_adds_tolerations_and_bounds_them(self):
        mine = {"key": "a", "operator": "Exists"}
        there = self.namespace(**{DEFAULTS: [mine], ALLOWED: [mine]})
        plugin = podtolerationrestriction.PLUGIN
        assert admitted(asking(pod(), there), plugin)["spec"]["tolerations"] == [mine]
        other = pod(tolerations=[{"key": "b", "operator": "Exists"}])
        assert "whitelist" in refused(asking(other, there), plugin)

    def test_annotations_that_cannot_be_read_let_nothing_in(self):
        there = made("Namespace", NAMESPACE, metadata={"annotations": {ALLOWED: "{"}})
        assert "no JSON list" in refused(asking(pod(), there), podtolerationrestriction.PLUGIN)

    @pytest.mark.parametrize(
        ("wide", "narrow", "covered"),
        [
            ({"operator": "Exists"}, {"key": "a", "operator": "Equal", "value": "b"}, True),
            ({"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}, False),
            ({"key": "a", "value": "b"}, {"key": "a", "operator": "Equal", "value": "b"}, True),
            ({"key": "a", "value": "b"}, {"key": "a", "operator": "Exists"}, False),
            ({"operator": "Exists", "effect": "NoExecute"}, {"operator": "Exists", "effect": "NoSchedule"}, False),
            (
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10},
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
                True,
            ),
            (
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10},
                {"operator": "Exists", "effect": "NoExecute"},
                False,
            ),
        ],
    )
    def test_one_toleration_covers_another(self, wide, narrow, covered):
        assert podtolerationrestriction.covers(wide, narrow) is covered


PRIVILEGED = [{"name": "c", "image": "x", "securityContext": {"privileged": True}}]


class TestPodSecurity:
    PLUGINS = (podsecurity.PODS, podsecurity.TEMPLATES, podsecurity.NAMESPACES)

    @staticmethod
    def namespace(**labels: str) -> Object:
        return made(
            "Namespace", NAMESPACE, metadata={"labels": {f"{P}{name}": level for name, level in labels.items()}}
        )

    def test_what_breaks_the_enforced_level_is_refused(self):
        bad = pod(containers=PRIVILEGED)
        assert refused(asking(bad, self.namespace(enforce="baseline")), *self.PLUGINS) == (
            'pods "p" is forbidden: violates PodSecurity "baseline:latest": privileged '
            '(container "c" must not set securityContext.privileged=true)'
        )
        admitted(asking(bad, self.namespace(enforce="privileged")), *self.PLUGINS)
        admitted(asking(bad), *self.PLUGINS)

    def test_what_breaks_the_warned_level_is_warned_of(self):
        request = asking(pod(), self.namespace(enforce="baseline", warn="restricted"))
        admitted(request, *self.PLUGINS)
        (warning,) = request.warnings
        assert warning.startswith('would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false')

    def test_templates_are_warned_of_and_not_refused(self):
        template = {"spec": {"containers": PRIVILEGED}}
        for kind, api_version, spec in (
            ("Deployment", "apps/v1", {"template": template}),
            ("CronJob", "batch/v1", {"jobTemplate": {"spec": {"template": template}}}),
        ):
            request = asking(made(kind, "x", api_version, spec=spec), self.namespace(enforce="baseline"))
            admitted(request, *self.PLUGINS)
            assert len(request.warnings) == 1

    def test_an_update_that_changes_nothing_of_it_is_let_through(self):
        old = pod(containers=PRIVILEGED)
        new = pod(containers=[{**PRIVILEGED[0], "image": "y"}], tolerations=[{"operator": "Exists"}])
        admitted(asking(new, self.namespace(enforce="baseline"), old=old), *self.PLUGINS)
        worse = pod(containers=PRIVILEGED, hostNetwork=True)
        refused(asking(worse, self.namespace(enforce="baseline"), old=old), *self.PLUGINS)

    def test_a_level_that_rises_tells_which_pods_break_it(self):
        owner = {"ownerReferences": [{"uid": "rs", "controller": True}]}
        there = [
            made("Pod", f"p{number}", metadata=owner if number < 3 else {}, spec={"containers": PRIVILEGED})
            for number in range(5)
        ]
        fine = made("Pod", "fine", spec=pod()["spec"])
        request = asking(self.namespace(enforce="baseline"), *there, fine, old=self.namespace())
        admitted(request, *self.PLUGINS)
        assert request.warnings == [
            'existing pods in namespace "web" violate the new PodSecurity enforce level "baseline:latest"',
            "p0 (and 2 other pods): privileged",
        ]
        lower = asking(self.namespace(enforce="baseline"), *there, old=self.namespace(enforce="restricted"))
        admitted(lower, *self.PLUGINS)
        assert lower.warnings == []

    def test_labels_that_cannot_be_read_are_refused(self):
        with pytest.raises(StatusError) as caught:
            admitted(asking(self.namespace(enforce="odd"), old=self.namespace()), *self.PLUGINS)
        assert caught.value.reason == "Invalid"
