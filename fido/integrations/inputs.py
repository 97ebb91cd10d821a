"""What other packages hand over: pixels that noise has moved, and class indices."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fido.classifiers.base import Classifier

FURTHEST = 0.1
"""Mean distance to [0, 1] that noise may make. Noise of a deviation of .2 on a black image makes
.08; a photo that is normalised by ImageNet's mean and deviation is .3 to .6 away."""


def near_unit(image: Tensor, advice: str = "") -> Tensor:
    """Images clamped to [0, 1] where only noise has moved them out of it.

    Args:
        image: (n, 3, h, w).
        advice: Stands at the end of the error.

    Raises:
        ValueError: If they are other than pixels in [0, 1], such as normalised.
    """
    clamped = image.clamp(0, 1)
    away = (image - clamped).abs().mean((1, 2, 3))
    if not bool((away <= FURTHEST).all()):  # so written that NaN is refused too
        raise ValueError(
            f"inputs must be pixels in [0, 1], got {float(image.min()):.3g} to "
            f"{float(image.max()):.3g}: normalised images, 0 to 255, NaN, or noise of a deviation "
            f"above .2{advice}"
        )
    return clamped


def known_classes(chosen: Sequence[int], classifier: Classifier) -> list[int]:
    """Class indices.

    Raises:
        ValueError: If one is not among the classifier's.
    """
    classes = len(classifier.class_names)
    wrong = [index for index in chosen if not 0 <= index < classes]
    if wrong:
        raise ValueError(
            f"target {wrong[0]} is not a class index of this classifier; expected 0 to "
            f"{classes - 1}"
        )
    return [int(index) for index in chosen]
