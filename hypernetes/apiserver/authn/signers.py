"""What the signers `kubernetes.io/…` put into a certificate that somebody of a tenant asked for. Pure.

The tenant is always the request's own, whoever approved it: it comes from where the request lies and not from what it
says. Administrators are made by the provider, never by a request: nothing is signed for `system:masters`. In the tenant
`system`, whose certificates our own processes have, no name that means something there is signed for people.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from hypernetes.api.tenancy import SYSTEM_TENANT, TenantSAN
from hypernetes.apiserver.authn.certificates import DEFAULT_LIFETIME, MAX_NAME_CHARACTERS, MIN_LIFETIME
from hypernetes.apiserver.authn.users import MASTERS_GROUP, NODE_USER_PREFIX, NODES_GROUP
from hypernetes.pki import Profile
from hypernetes.pki.certificates import PublicKey, requested_key

CLIENT = "kubernetes.io/kube-apiserver-client"
NODE_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
NODE_SERVING = "kubernetes.io/kubelet-serving"
SIGNERS = frozenset({CLIENT, NODE_CLIENT, NODE_SERVING})

_SYSTEM_PREFIX = "system:"
_KEY_USAGES = frozenset({"digital signature", "key encipherment"})
# signer -> the usage that it is for; `_KEY_USAGES` may stand beside it
_PURPOSE = {CLIENT: "client auth", NODE_CLIENT: "client auth", NODE_SERVING: "server auth"}


class Refused(ValueError):
    """The signer doesn't sign this; the message is for whoever asked."""


def decide(spec: Mapping[str, Any], san: TenantSAN) -> tuple[Profile, PublicKey, timedelta]:
    """What to sign for the request with this spec in the tenant of `san`. Raises Refused."""
    signer = spec["signerName"]
    usages = frozenset(spec.get("usages") or ())
    if _PURPOSE[signer] not in usages or usages - _KEY_USAGES - {_PURPOSE[signer]}:
        raise Refused(f"usages must be {_PURPOSE[signer]!r}, and may be {', '.join(sorted(_KEY_USAGES))} beside it")
    request, key = _request(spec.get("request") or "")
    name, groups = _subject(request)
    names, addresses = _alternatives(request)
    if signer == CLIENT:
        _check_client(name, groups, san.tenant)
        profile = Profile(name, groups, san, client=True)
    else:
        if not name.startswith(NODE_USER_PREFIX) or groups != (NODES_GROUP,):
            raise Refused(
                f"the subject must be the common name {NODE_USER_PREFIX}NAME in the organization {NODES_GROUP}"
            )
        if signer == NODE_CLIENT:
            if names or addresses:
                raise Refused("a client's certificate has no subject alternative names")
            profile = Profile(name, groups, san, client=True)
        else:
            _check_serving(spec, san.tenant, name, names, addresses)
            profile = Profile(name, groups, dns_names=names, addresses=addresses, server=True)
    seconds = spec.get("expirationSeconds")
    lifetime = DEFAULT_LIFETIME if seconds is None else timedelta(seconds=seconds)
    return profile, key, max(MIN_LIFETIME, min(lifetime, DEFAULT_LIFETIME))


def _check_client(name: str, groups: tuple[str, ...], tenant: str) -> None:
    if MASTERS_GROUP in groups:
        raise Refused(f"nothing is signed for the organization {MASTERS_GROUP}")
    reserved = [each for each in (name, *groups) if each.startswith(_SYSTEM_PREFIX)]
    if tenant == SYSTEM_TENANT and reserved:
        raise Refused(f"{reserved[0]} is a name of the cluster's own")


def _check_serving(
    spec: Mapping[str, Any], tenant: str, name: str, names: tuple[str, ...], addresses: tuple[str, ...]
) -> None:
    # Everything in the cluster trusts one authority: who may serve under it isn't a tenant's to say.
    if tenant != SYSTEM_TENANT:
        raise Refused("nodes are the provider's, and so are their serving certificates")
    if spec.get("username") != name:
        raise Refused("a node's serving certificate is asked for by the node itself")
    if not names and not addresses:
        raise Refused("a serving certificate needs a DNS name or an address")


def _request(encoded: str) -> tuple[x509.CertificateSigningRequest, PublicKey]:
    try:
        pem = base64.b64decode(encoded, validate=True)
        return x509.load_pem_x509_csr(pem), requested_key(pem)
    except (binascii.Error, ValueError) as error:
        raise Refused(str(error)) from error


def _subject(request: x509.CertificateSigningRequest) -> tuple[str, tuple[str, ...]]:
    known = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    if any(attribute.oid not in known for attribute in request.subject):
        raise Refused("the subject may hold a common name and organizations only")
    names, groups = (
        tuple(str(attribute.value) for attribute in request.subject.get_attributes_for_oid(oid)) for oid in known
    )
    if len(names) != 1:
        raise Refused("the subject must have one common name")
    for each in (*names, *groups):
        if not each.isprintable() or not 0 < len(each) <= MAX_NAME_CHARACTERS:
            raise Refused(f"names must be 1 to {MAX_NAME_CHARACTERS} printable characters")
    return names[0], groups


def _alternatives(request: x509.CertificateSigningRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """DNS names and addresses. A URI would name a tenant: that is the signer's to write."""
    try:
        found = request.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return (), ()
    except ValueError as error:
        raise Refused(f"the extensions can't be read: {error}") from error
    assert isinstance(found, x509.SubjectAlternativeName)
    if any(not isinstance(name, x509.DNSName | x509.IPAddress) for name in found):
        raise Refused("subject alternative names may be DNS names and addresses only")
    names = tuple(found.get_values_for_type(x509.DNSName))
    return names, tuple(map(str, found.get_values_for_type(x509.IPAddress)))
