"""Classes by index, WordNet id or the name of a group."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from timm.data.imagenet_info import ImageNetInfo

GROUPS = Path(__file__).parent / "class_groups"
"""Lists of ImageNet-1k classes, <group>.csv: index, WordNet id, name.

`birds` are the 59 classes below WordNet's bird.n.01.
"""


def class_indices(classes: int | str | Sequence[int | str]) -> frozenset[int]:
    """The indices of classes.

    Args:
        classes: One or a list of: an index; a WordNet id of ImageNet-1k, "n01514668"; the name of
            a group of ImageNet-1k, "birds".

    Raises:
        ValueError: If something is none of these.
    """
    listed = [classes] if isinstance(classes, int | str) else classes
    return frozenset(index for one in listed for index in _indices(one))


def _indices(one: int | str) -> list[int]:
    if isinstance(one, int) or one.isdigit():
        return [int(one)]
    if one[:1] == "n" and one[1:].isdigit():
        wnids = ImageNetInfo().label_names()  # type: ignore[no-untyped-call]
        if one in wnids:
            return [wnids.index(one)]
    groups = {path.stem: path for path in GROUPS.glob("*.csv")}
    if one not in groups:
        raise ValueError(
            f"data.classes: {one!r} is no class index, no WordNet id of ImageNet-1k such as "
            f"n01514668, and no group ({', '.join(sorted(groups))})"
        )
    with groups[one].open(newline="", encoding="utf-8") as lines:
        return [int(row["index"]) for row in csv.DictReader(lines)]
