"""Keystone, version 3: whose its tokens are, and which of its projects are tenants.

    provider.py        the provider: threads, deadlines, errors
    configuration.py   its file, and the entry of `clouds.yaml` that it names
    validation.py      asks Keystone about a token, by keystonemiddleware
    tokens.py          what Keystone says of a token ─► an identity (pure)
    projects.py        lists projects and domains

**Names.** A user is `keystone:NAME@DOMAIN`; what they have a role in is `keystone:role:ROLE` in the project's tenant,
in lower case since OpenStack's policies don't tell case apart. RBAC binds these groups: admin, member and reader by the
default bindings, any other by what the provider or the tenant binds.

A token of a project opens that project's tenant. One that has `admin` on the whole system makes an administrator of the
provider's; one that has `admin` on a domain sees that domain's tenants. Trusts and application credentials need nothing
of their own, except that one with access rules opens nothing here: its rules are about paths of other services.
"""

from hypernetes.providers.identity.keystone.provider import KeystoneIdentityProvider

__all__ = ["KeystoneIdentityProvider"]
