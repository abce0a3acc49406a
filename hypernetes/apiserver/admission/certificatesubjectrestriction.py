"""CertificateSubjectRestriction: nobody becomes an administrator by a client certificate that they ask for.

Nor does anybody get a role in the tenant's Keystone project so: that is Keystone's to give.
"""

import base64
import binascii

from cryptography import x509
from cryptography.x509.oid import NameOID

from hypernetes.api.usernames import KEYSTONE_PREFIX
from hypernetes.apiserver.admission.request import CREATE, Plugin, Request
from hypernetes.apiserver.authn.users import MASTERS_GROUP

_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


def validate(request: Request) -> None:
    spec = request.obj.get("spec", {})
    if spec.get("signerName") != _CLIENT_SIGNER:
        return
    try:
        asked = x509.load_pem_x509_csr(base64.b64decode(spec.get("request") or ""))
    except (ValueError, binascii.Error) as error:
        raise request.forbidden("unable to parse the certificate signing request") from error
    for name in asked.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME):
        group = name.value if isinstance(name.value, str) else name.value.decode(errors="replace")
        if group == MASTERS_GROUP or group.startswith(KEYSTONE_PREFIX):
            raise request.forbidden(f"use of {_CLIENT_SIGNER} signer with {group} group is not allowed")


_REQUESTS = (("certificates.k8s.io", "certificatesigningrequests"),)
PLUGIN = Plugin("CertificateSubjectRestriction", _REQUESTS, (CREATE,), validate=validate)
