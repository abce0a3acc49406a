"""`Network.spec.tenantID`, as the original's manifests have it: the id of a project of Keystone's.

Who writes it in a tenant means its own. The provider's administrators, whose requests without a tenant are about
`system`, which has no pods, say by it where the Network goes.
"""

from dataclasses import replace
from typing import Any

import orjson

from hypernetes.api import scheme
from hypernetes.api.status import StatusError
from hypernetes.api.tenancy import SYSTEM_TENANT
from hypernetes.apiserver import tenantstates
from hypernetes.apiserver.handlers.context import Call
from hypernetes.apiserver.mirror import Entry

Object = dict[str, Any]

_TENANTS = scheme.by_name("hypernetes.io/v1", "tenants")
_IGNORED = "spec.tenantID is ignored: this tenant is no project of Keystone's"


def directed(call: Call, network: Object) -> Call:
    """The call in the tenant that a new Network is for. Raises StatusError 403 for another's, and for an unknown one
    in the same words."""
    wanted = network.get("spec", {}).get("tenantID")
    if not wanted:
        return call
    if call.one_tenant == SYSTEM_TENANT:
        found = _tenant_of(call, wanted)
        return replace(call, tenant=found, route=call.route._replace(tenant=found))
    own = _project(call.parts.mirror.object(_TENANTS, SYSTEM_TENANT, "", call.one_tenant))
    if not own:
        call.warnings.append(_IGNORED)
    elif wanted != own:
        raise _forbidden(network, f"spec.tenantID must be this tenant's, {own}")
    return call


def _tenant_of(call: Call, project: str) -> str:
    mirror = call.parts.mirror
    for entry in mirror.range(mirror.keys.range(_TENANTS, SYSTEM_TENANT, None)):
        if _project(entry) == project and not tenantstates.ends(entry):
            return str(orjson.loads(entry.data)["metadata"]["name"])
    raise StatusError("NotFound", f'no tenant is the project "{project}" (spec.tenantID)')


def _project(tenant: Entry | None) -> str:
    spec = orjson.loads(tenant.data).get("spec", {}) if tenant is not None else {}
    return str(((spec.get("identity") or {}).get("keystone") or {}).get("projectID") or "")


def _forbidden(network: Object, why: str) -> StatusError:
    name = network["metadata"].get("name", "")
    return StatusError(
        "Forbidden", f'networks.hypernetes.io "{name}" is forbidden: {why}',
        details={"name": name, "group": "hypernetes.io", "kind": "networks"},
    )  # fmt: skip
