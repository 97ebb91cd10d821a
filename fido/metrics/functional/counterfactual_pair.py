"""A photo and its counterfactual as both are stored: 8 bits a value."""

from __future__ import annotations

import torch
from torch import Tensor

from fido.records import Explanation, Sample


def counterfactual_pair(sample: Sample, explanation: Explanation) -> Tensor | None:
    """(2, 3, h, w) photo and counterfactual in [0, 1], rounded to 8 bits; None without one.

    Raises:
        ValueError: If they are not of one size.
    """
    image = explanation.counterfactual
    if image is None:
        return None
    if image.shape != sample.image.shape:
        raise ValueError(
            f"{sample.id}: a counterfactual of {tuple(image.shape[-2:])} pixels of an image of "
            f"{tuple(sample.image.shape[-2:])}; give the store's own image"
        )
    photo = (sample.image.cpu() * 255).round()
    return torch.stack([photo, image.cpu().float()]) / 255
