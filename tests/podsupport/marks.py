"""How a test says which fields of a pod it shows the effect of."""

from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T", bound=Callable[..., object])


def shows(*fields: str) -> Callable[[T], T]:
    """The test fails where the node ignores any of these fields (`pytest --drop-field`)."""

    def mark(test: T) -> T:
        marked: T = pytest.mark.shows(*fields)(test)
        return marked

    return mark
