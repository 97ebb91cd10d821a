"""Which of a classifier's classes are those of a denoiser."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

UNKNOWN = -2
"""In place of the index of a class that the classifier does not have."""


def class_indices(labels: Sequence[int | str], names: Sequence[str] | None) -> Tensor:
    """The classifier's index of each class of a denoiser.

    Args:
        labels: An index or a name for each of the denoiser's classes.
        names: The classifier's names; None: not known, which leaves names without an index. Of
            "tench, Tinca tinca" the part before the comma is a name, too.

    Returns:
        (classes,) int64, `UNKNOWN` for a name that the classifier does not have.
    """
    places: dict[str, int] = {}
    for index, name in enumerate(names or ()):
        for said in (name, name.split(",")[0].strip()):
            places.setdefault(said, index)
    known = [places.get(label, UNKNOWN) if isinstance(label, str) else label for label in labels]
    return torch.tensor(known, dtype=torch.long)
