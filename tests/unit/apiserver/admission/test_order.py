"""The list of plugins, namespaces' lives, and the plugins about nodes and certificates."""

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from hypernetes.api.status import StatusError
from hypernetes.apiserver.admission import (
    ORDER,
    certificateapproval,
    certificatesubjectrestriction,
    namespacelifecycle,
    taintnodesbycondition,
)
from hypernetes.apiserver.admission.request import DELETE
from hypernetes.pki.certificates import new_key
from tests.unit.apiserver.admission.requests import NAMESPACE, Object, admitted, asking, made, pod

LIFECYCLE = (
    namespacelifecycle.PLUGIN, namespacelifecycle.KEPT_NAMESPACES, namespacelifecycle.NETWORK_OF_PODS,
)  # fmt: skip
# As kube-apiserver 1.36 orders those of its plugins that are here; ResourceQuota follows with the write.
UPSTREAM = [
    "NamespaceLifecycle", "LimitRanger", "ServiceAccount", "NodeRestriction", "TaintNodesByCondition", "PodSecurity",
    "Priority", "DefaultTolerationSeconds", "PodTolerationRestriction", "DefaultStorageClass",
    "StorageObjectInUseProtection", "PersistentVolumeClaimResize", "RuntimeClass", "CertificateApproval",
    "CertificateSigning", "CertificateSubjectRestriction", "DefaultIngressClass",
]  # fmt: skip


def test_the_order_is_upstream_s():
    names = list(dict.fromkeys(plugin.name for plugin in ORDER))
    assert [name for name in names if name in UPSTREAM] == UPSTREAM


def test_tolerations_of_a_runtime_class_come_after_the_defaults():
    cls = made(
        "RuntimeClass", "r", "node.k8s.io/v1", handler="h", scheduling={"tolerations": [{"key": "rt"}]}
    )  # fmt: skip
    there = (cls, made("Namespace", NAMESPACE), made("ServiceAccount", "default"))
    spec = admitted(asking(pod(runtimeClassName="r"), *there))["spec"]
    assert [each["key"] for each in spec["tolerations"]] == [
        "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "rt",
    ]  # fmt: skip


class TestNamespaceLifecycle:
    def test_nothing_is_made_in_a_namespace_that_is_not_there(self):
        with pytest.raises(StatusError) as caught:
            admitted(asking(pod()), *LIFECYCLE)
        assert (caught.value.reason, caught.value.details["kind"]) == ("NotFound", "namespaces")

    def test_nothing_is_made_in_one_that_ends(self):
        ending = made("Namespace", NAMESPACE, metadata={"deletionTimestamp": "2030-01-01T00:00:00Z"})
        with pytest.raises(StatusError) as caught:
            admitted(asking(pod(), ending), *LIFECYCLE)
        assert caught.value.causes[0]["reason"] == "NamespaceTerminating"
        admitted(asking(pod(), ending, old=pod()), *LIFECYCLE)

    def test_a_label_of_that_name_ends_nothing(self):
        admitted(asking(pod(), made("Namespace", NAMESPACE, data='"deletionTimestamp"')), *LIFECYCLE)

    @pytest.mark.parametrize(
        ("name", "kept"), [("default", True), ("kube-system", True), ("kube-public", True), ("web", False)]
    )
    def test_three_namespaces_stay(self, name, kept):
        request = asking(made("Namespace", name), operation=DELETE)
        if kept:
            with pytest.raises(StatusError, match="may not be deleted"):
                admitted(request, *LIFECYCLE)
        else:
            admitted(request, *LIFECYCLE)

    def test_a_namespace_with_pods_keeps_its_network(self):
        old, new = made("Namespace", NAMESPACE), made("Namespace", NAMESPACE, spec={"network": "other"})
        admitted(asking(new, old=old), *LIFECYCLE)
        with pytest.raises(StatusError) as caught:
            admitted(asking(new, pod(), old=old), *LIFECYCLE)
        assert caught.value.causes[0]["field"] == "spec.network"


def test_a_new_node_takes_no_pods_yet():
    not_ready = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    own = {"key": "a", "effect": "NoSchedule"}
    for before, after in (([], [not_ready]), ([own], [own, not_ready]), ([not_ready], [not_ready])):
        node = made("Node", "n", spec={"taints": before})
        assert admitted(asking(node), taintnodesbycondition.PLUGIN)["spec"]["taints"] == after


class _Allows:
    """An authorizer that allows what it is told to."""

    def __init__(self, *allowed: tuple[str, str]) -> None:
        self._allowed = allowed

    def authorize(self, _: Any, asked: Any) -> Any:
        class Decision:
            allowed = (asked.verb, asked.name) in self._allowed and asked.resource == "signers"

        return Decision


class TestCertificates:
    KIND, API_VERSION = "CertificateSigningRequest", "certificates.k8s.io/v1"

    def csr(self, signer: str = "example.com/s", organization: str = "team", **parts: Any) -> Object:
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)])
        signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(new_key(), hashes.SHA256())
        request = base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()
        return made(self.KIND, "r", self.API_VERSION, spec={"signerName": signer, "request": request}, **parts)

    @pytest.mark.parametrize(
        ("allowed", "may"),
        [
            ([], False),
            ([("approve", "example.com/s")], True),
            ([("approve", "example.com/*")], True),
            ([("approve", "example.com/other")], False),
            ([("sign", "example.com/s")], False),
        ],
    )
    def test_approving_needs_the_signer_s_permission(self, allowed, may):
        request = asking(
            self.csr(), old=self.csr(), subresource="approval", authorizer=_Allows(*allowed)
        )  # fmt: skip
        if may:
            admitted(request, certificateapproval.APPROVAL)
        else:
            with pytest.raises(StatusError, match="not permitted to approve"):
                admitted(request, certificateapproval.APPROVAL)

    def test_signing_needs_one_and_other_status_does_not(self):
        old = self.csr()
        for status, needs in (({"certificate": "eA=="}, True), ({"conditions": [{"type": "Failed"}]}, True),
                              ({"conditions": [{"type": "Approved"}]}, False)):  # fmt: skip
            request = asking({**old, "status": status}, old=old, subresource="status", authorizer=_Allows())
            if needs:
                with pytest.raises(StatusError, match="not permitted to sign"):
                    admitted(request, certificateapproval.SIGNING)
            else:
                admitted(request, certificateapproval.SIGNING)

    @pytest.mark.parametrize(
        ("signer", "organization", "fine"),
        [
            ("kubernetes.io/kube-apiserver-client", "system:masters", False),
            ("kubernetes.io/kube-apiserver-client", "team", True),
            ("example.com/s", "system:masters", True),
        ],
    )
    def test_nobody_asks_to_be_an_administrator(self, signer, organization, fine):
        request = asking(self.csr(signer, organization))
        if fine:
            admitted(request, certificatesubjectrestriction.PLUGIN)
        else:
            with pytest.raises(StatusError, match="system:masters group is not allowed"):
                admitted(request, certificatesubjectrestriction.PLUGIN)
