"""Server-side apply against a plain, slow model: no field is kept that nobody manages, none lost that somebody does.

The model knows an object as its fields' paths, each with a value, and who manages which of them.
"""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.apiserver.fieldmanagement import applying, fieldsets, updating
from hypernetes.apiserver.fieldmanagement.entries import APPLY, UPDATE, Manager
from hypernetes.apiserver.fieldmanagement.updating import Versions
from hypernetes.apiserver.schema import Type


def built(kind, **slots):
    made = Type(kind)
    for name, value in slots.items():
        setattr(made, name, value)
    return made


TEXT = built("string")
ENTRY = built("object", fields={"name": TEXT, "v": TEXT, "w": TEXT}, constants={"name": ""})
ROOT = built(
    "object",
    fields={
        "data": built("map", item=TEXT),
        "deep": built("object", fields={"x": TEXT, "y": built("map", item=TEXT)}),
        "items": built("list", item=ENTRY, list_type="map", list_keys=("name",)),
        "tags": built("list", item=TEXT, list_type="set"),
        "whole": built("list", item=TEXT, list_type="atomic", atomic=True),
        "one": TEXT,
        "kept": TEXT,
    },
)
VERSIONS = Versions("v1", ROOT, lambda obj, of, to: None)
KEPT = {"kept": "x"}  # what nobody changes

texts = st.sampled_from(["1", "2"])
maps = st.dictionaries(st.sampled_from(["a", "b"]), texts, min_size=1, max_size=2)
entries_ = st.fixed_dictionaries({"name": st.sampled_from(["p", "q", "r"])}, optional={"v": texts, "w": texts})
objects = st.fixed_dictionaries(
    {},
    optional={
        "data": maps,
        "deep": st.fixed_dictionaries({}, optional={"x": texts, "y": maps}).filter(bool),
        "items": st.lists(entries_, min_size=1, max_size=3, unique_by=lambda entry: entry["name"]),
        "tags": st.lists(st.sampled_from(["s", "t", "u"]), min_size=1, max_size=3, unique=True),
        "whole": st.lists(texts, min_size=1, max_size=2),
        "one": texts,
    },
)
applies = st.tuples(st.just("apply"), st.sampled_from(["A", "B", "C"]), objects, st.booleans())
updates = st.tuples(st.just("update"), st.sampled_from(["U", "V"]), objects, st.just(True))


def flat(obj):
    """Paths of all fields, with their values; an entry of a list is one by itself, and so are its fields."""
    found = {}
    for key in ("one", "kept"):
        if key in obj:
            found[f"f:{key}",] = obj[key]
    found.update({("f:data", f"f:{key}"): value for key, value in (obj.get("data") or {}).items()})
    deep = obj.get("deep") or {}
    if deep.get("x"):
        found["f:deep", "f:x"] = deep["x"]
    found.update({("f:deep", "f:y", f"f:{key}"): value for key, value in (deep.get("y") or {}).items()})
    for entry in obj.get("items") or ():
        at = ("f:items", f'k:{{"name":"{entry["name"]}"}}')
        found[at] = None
        found.update({(*at, f"f:{key}"): value for key, value in entry.items()})
    found.update({("f:tags", f'v:"{tag}"'): tag for tag in obj.get("tags") or ()})
    if obj.get("whole"):
        found["f:whole",] = tuple(obj["whole"])
    return found


class Model:
    def __init__(self):
        self.fields, self.managed = {}, {}

    def apply(self, manager, config, force):
        """The conflicts: (manager, path)."""
        said = flat(config)
        conflicts = {
            (other, path)
            for other, paths in self.managed.items()
            for path in paths & said.keys()
            if other != manager and self.fields.get(path, said[path]) != said[path]
        }
        if conflicts and not force:
            return conflicts
        before = dict(self.fields)
        last = self.managed.get(manager, set())
        self.managed[manager] = set(said)
        self.fields.update(said)
        others = set().union(*self.managed.values())
        for path in last - others:
            for gone in [each for each in self.fields if each[: len(path)] == path]:
                del self.fields[gone]
        self._taken(before, manager)
        return set()

    def update(self, manager, obj):
        before, self.fields = self.fields, flat(obj)
        changed = {path for path, value in self.fields.items() if path not in before or before[path] != value}
        self._taken(before, None)
        self.managed[manager] = self.managed.get(manager, set()) | changed

    def _taken(self, before, keeper):
        """Others lose what has another value than before, and what is gone."""
        for manager, paths in self.managed.items():
            if manager != keeper:
                paths -= {
                    path for path in paths if path not in self.fields or before.get(path) != self.fields[path]
                }  # fmt: skip


class Real:
    def __init__(self):
        self.object, self.managers = {}, {}

    def apply(self, name, config, force):
        manager = Manager.of(name, APPLY, "v1", "")
        before = copy.deepcopy((self.object, self.managers))
        try:
            new, self.managers = applying.applied(
                self.object, config, self.managers, manager, VERSIONS, force=force, now="t"
            )
        except applying.Conflicts as error:
            return {(manager.name, path) for manager, path in error.found}
        finally:
            assert before[0] == self.object, "the object that went in was changed"
        self.object = self.object if new is None else without_nothing(new)
        return set()

    def create(self, name, obj):
        self.managers = updating.created(obj, {}, Manager.of(name, UPDATE, "v1", ""), VERSIONS, "t")
        self.object = obj

    def update(self, name, obj):
        manager = Manager.of(name, UPDATE, "v1", "")
        self.managers = updating.updated(self.object, obj, self.managers, manager, VERSIONS, "t")
        self.object = obj

    def managed(self):
        containers = {("f:data",), ("f:deep",), ("f:deep", "f:y"), ("f:items",), ("f:tags",)}
        found = {one.name: set(fieldsets.paths(each.fields)) - containers for one, each in self.managers.items()}
        return {name: paths for name, paths in found.items() if paths}


def without_nothing(value):
    """As a decoder leaves it: without null."""
    if isinstance(value, dict):
        return {key: without_nothing(each) for key, each in value.items() if each is not None}
    return value


@settings(max_examples=150, deadline=None)
@given(st.lists(applies | updates, min_size=1, max_size=8))
def test_applies_and_updates_do_what_the_model_does(steps):
    model, real = Model(), Real()
    real.create("K", KEPT)  # so that somebody always manages something: else updates are nobody's
    model.update("K", KEPT)
    for verb, manager, obj, force in steps:
        if verb == "apply":
            assert real.apply(manager, obj, force) == model.apply(manager, obj, force)
        else:
            real.update(manager, {**KEPT, **obj})
            model.update(manager, {**KEPT, **obj})
        assert flat(real.object) == model.fields
        managed = real.managed()
        assert managed == {name: paths for name, paths in model.managed.items() if paths}
        everything = set().union(*managed.values()) if managed else set()
        assert everything == model.fields.keys(), "a field is kept that nobody manages, or managed and lost"
