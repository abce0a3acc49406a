"""One object and those who write it, without a server: for stories of who manages what."""

import orjson

from hypernetes.apiserver import schema
from hypernetes.apiserver.fieldmanagement import applying, entries, fieldsets, updating
from hypernetes.apiserver.fieldmanagement.entries import APPLY, UPDATE, Manager
from hypernetes.apiserver.fieldmanagement.updating import Versions
from hypernetes.apiserver.patch import merge_patch
from hypernetes.apiserver.registry import changeable


class World:
    def __init__(self, api_version, kind, *, has_status=False, resource=""):
        self.kind = schema.for_kind(api_version, kind)
        self.identity = {"apiVersion": api_version, "kind": kind}
        self.group = api_version.rpartition("/")[0]
        self.has_status, self.resource = has_status, resource
        self.object, self.managers, self.clock = None, {}, 0

    def versions(self, subresource):
        counted = changeable.by(self.group, self.resource, subresource, has_status=self.has_status)
        return Versions(self.kind.api_version, self.kind.root, lambda obj, of, to: None, counted)

    def now(self):
        self.clock += 1
        return f"2026-01-01T00:00:{self.clock:02}Z"

    def apply(self, name, config, *, force=False, subresource=""):
        """Raises Conflicts, Unsuitable."""
        manager = Manager.of(name, APPLY, self.kind.api_version, subresource)
        said = {**self.identity, **config, "metadata": {"name": "x", **config.get("metadata", {})}}
        new, self.managers = applying.applied(
            self.object, said, self.managers, manager, self.versions(subresource), force=force, now=self.now()
        )
        if new is not None:
            self.object = self._complete(new)

    def update(self, name, obj, *, subresource=""):
        manager = Manager.of(name, UPDATE, self.kind.api_version, subresource)
        new = self._complete({**self.identity, **obj, "metadata": {"name": "x", **obj.get("metadata", {})}})
        versions = self.versions(subresource)
        if self.object is None:
            self.managers = updating.created(new, {}, manager, versions, self.now())
        else:
            self.managers = updating.updated(self.object, new, self.managers, manager, versions, self.now())
        self.object = new

    def patch(self, name, patch, *, subresource=""):
        self.update(name, merge_patch.apply(self.object, patch), subresource=subresource)

    def told(self):
        """What each manager manages, one a line."""
        lines = []
        for manager, managed in sorted(self.managers.items()):
            how = "applies" if manager.operation == APPLY else "updates"
            through = f" through {manager.subresource}" if manager.subresource else ""
            said = " ".join(fieldsets.text(path) for path in fieldsets.paths(managed.fields))
            lines.append(f"{manager.name} {how}{through}: {said}")
        assert entries.load(entries.dump(self.managers)) == self.managers
        assert orjson.loads(entries.dump(self.managers) or b"[]") is not None
        return lines

    def _complete(self, obj):
        decoded, _ = self.kind.decode(obj, "Ignore")
        return self.kind.default(decoded)
