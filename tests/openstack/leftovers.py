"""What tests made in Cinder and didn't delete is deleted after each, and what others made stays."""

from tests.openstack.cinders import Cinder
from tests.openstack.daemons import until


class Leftovers:
    def __init__(self, cinder: Cinder) -> None:
        self._cinder, self._rest = cinder, cinder.rest()
        self._before = {kind: self._ids(kind) for kind in ("attachments", "snapshots", "volumes")}

    def new(self, kind: str) -> set[str]:
        """Ids of what has come since."""
        return self._ids(kind) - self._before[kind]

    def remove(self) -> None:
        headers = {"X-Service-Token": self._cinder.service_token()}
        for kind in ("attachments", "snapshots", "volumes"):
            for id in self.new(kind):
                self._rest.delete(f"/{kind}/{id}", headers=headers, raise_exc=False)
            until(lambda kind=kind: not self.new(kind), f"an end of all {kind}")

    def _ids(self, kind: str) -> set[str]:
        return {each["id"] for each in self._cinder.all(kind)}
