"""What `kubectl explain` is told: about things that there are, and about all that matter most."""

import pytest

from hypernetes.api import facts, scheme


def test_every_description_is_of_a_type_and_a_field_that_there_is():
    for name, texts in facts.descriptions().items():
        schema = facts.schemas()[name]
        common = {"apiVersion", "kind", "metadata", "spec", "status", "items"}
        assert texts.keys() - {"", *common} <= schema.get("properties", {}).keys(), name
        assert all(isinstance(text, str) and text.endswith(".") for text in texts.values()), name


def test_every_kind_is_described():
    for resource in scheme.served():
        name = scheme.schema_name(resource.group, resource.version, resource.kind)
        assert facts.descriptions()[name].get(""), name


@pytest.mark.parametrize(
    "name",
    [
        "apimachinery.pkg.apis.meta.v1.ObjectMeta", "api.core.v1.Container", "api.core.v1.Probe",
        "api.core.v1.VolumeMount", "api.apps.v1.DeploymentSpec", "api.apps.v1.StatefulSetSpec",
        "api.apps.v1.DaemonSetSpec", "api.batch.v1.JobSpec", "api.batch.v1.CronJobSpec", "api.core.v1.ServiceSpec",
        "api.core.v1.ServicePort", "api.networking.v1.IngressSpec", "api.networking.v1.HTTPIngressPath",
        "api.core.v1.PersistentVolumeClaimSpec", "api.rbac.v1.PolicyRule", "api.rbac.v1.Subject",
        "api.core.v1.ResourceQuotaSpec", "api.autoscaling.v2.HorizontalPodAutoscalerSpec",
        "api.policy.v1.PodDisruptionBudgetSpec", "api.storage.v1.StorageClass", "api.storage.v1.CSIDriverSpec",
        "api.authorization.v1.SubjectAccessReviewSpec", "api.apps.v1.StatefulSetStatus",
        "api.core.v1.SecurityContext", "api.core.v1.PodSecurityContext",
    ],
)  # fmt: skip
def test_no_field_is_left_out_of_what_people_write_most(name):
    full = f"io.k8s.{name}"
    assert facts.schemas()[full]["properties"].keys() <= facts.descriptions()[full].keys()


def test_nearly_every_field_of_a_pod_is_described():
    full = "io.k8s.api.core.v1.PodSpec"
    assert facts.schemas()[full]["properties"].keys() - facts.descriptions()[full].keys() <= {"schedulingGroup"}
