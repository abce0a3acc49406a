"""What a cache keeps parsed."""

import orjson

from hypernetes.api.models.core_v1 import ConfigMap
from hypernetes.client.cache import Cache, Parsed
from hypernetes.client.keys import Key

KEY = Key("acme", "default", "a")


def config_map(version: int) -> bytes:
    metadata = {"name": "a", "namespace": "default", "resourceVersion": str(version)}
    return orjson.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"v": str(version)}})


def test_an_object_is_parsed_once_and_a_version_that_is_forgotten_is_kept_no_longer() -> None:
    cache = Cache[ConfigMap, Key](ConfigMap)
    cache.put(KEY, config_map(1), "1")
    first = cache.get(KEY)
    assert first is not None
    assert cache.get(KEY) is first
    change = cache.put(KEY, config_map(2), "2")
    assert change is not None
    assert change.old is not None
    assert cache.parse(KEY, change.old) is first
    cache.forget(KEY, change.old)
    assert cache.parse(KEY, change.old) is not first
    second = cache.get(KEY)
    assert second is not None
    assert second.data == {"v": "2"}


def test_the_size_of_an_index_is_that_of_what_it_finds() -> None:
    cache = Cache[ConfigMap, Key](ConfigMap, {"data": lambda obj: obj.data.values()})
    cache.put(KEY, config_map(1), "1")
    assert (cache.index_size("data", "1"), cache.index_size("data", "2")) == (1, 0)
    cache.put(KEY, config_map(2), "2")
    assert (cache.index_size("data", "1"), cache.index_size("data", "2")) == (0, 1)
    assert cache.index_keys("data", "2") == [KEY]


def test_what_was_used_longest_ago_is_parsed_again_once_there_is_too_much() -> None:
    size = len(config_map(1))
    parsed = Parsed(limit=2 * size)
    caches = [Cache[ConfigMap, Key](ConfigMap, parsed=parsed) for _ in range(3)]
    for cache in caches:
        cache.put(KEY, config_map(1), "1")
    first, second = caches[0].get(KEY), caches[1].get(KEY)
    assert caches[0].get(KEY) is first
    third = caches[2].get(KEY)
    assert len(parsed) == 2
    assert (caches[0].get(KEY) is first, caches[2].get(KEY) is third) == (True, True)
    assert caches[1].get(KEY) is not second
    assert caches[1].get(KEY) == second
