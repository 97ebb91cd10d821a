"""What the classifier says when only a region is kept, and when just that region is removed."""

from __future__ import annotations

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.infillers.base import Infiller
from fido.masks.concrete import composite
from fido.records import RegionEdit
from fido.runtime.noise import ImageNoise


@torch.no_grad()
def edit_region(
    classifier: Classifier,
    infiller: Infiller,
    image: Tensor,
    region: Tensor,
    noise: ImageNoise | None = None,
) -> RegionEdit:
    """Infill around and inside a region.

    Args:
        classifier: Whose answers are wanted.
        infiller: What stands in for the pixels that go.
        image: (3, h, w) in [0, 1].
        region: (1, h, w) bool.
        noise: The image's random numbers, for infillers that draw some.
    """
    device = classifier.device
    original = image.to(device).unsqueeze(0)
    keep = torch.stack([region, ~region]).to(device, original.dtype)
    edited = composite(original, keep, infiller.infill(original, keep, noise))
    probabilities = classifier.probabilities(torch.cat([original, edited]))
    return RegionEdit(edited[0].cpu(), edited[1].cpu(), probabilities.cpu())
