import pytest

from hypernetes.providers.identity.base import Identity, TenantReference
from tests.unit.providers.identity.suite import IdentitySuite, Site
from tests.unit.providers.identity.table import TableProvider


class TestTable(IdentitySuite):
    @pytest.fixture
    def site(self) -> Site:
        jane = Identity("jane", TenantReference(id="p1"), ("dev",), extra={"mail": ("jane@acme.example",)})
        away = TableProvider()
        away.up = False
        return Site(TableProvider(**{"token-of-jane-1": jane}), "token-of-jane-1", jane, ("former-token",), away)
