"""Which classes of two classifiers are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def shared_classes(a: Sequence[str], b: Sequence[str]) -> tuple[list[int], list[int]]:
    """Indices in `a` and in `b` of the classes that both have.

    Equal lists are taken place by place, also where a name stands in them twice. Otherwise classes
    of one name, whatever its case, are the same; names that a list has twice are left out.
    """
    if list(a) == list(b):
        return list(range(len(a))), list(range(len(b)))
    place_in_a, place_in_b = _places(a), _places(b)
    names = [name for name in place_in_a if name in place_in_b]
    return [place_in_a[name] for name in names], [place_in_b[name] for name in names]


def _places(names: Sequence[str]) -> dict[str, int]:
    folded = [name.casefold() for name in names]
    often = Counter(folded)
    return {name: i for i, name in enumerate(folded) if often[name] == 1}
