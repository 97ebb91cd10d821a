"""LPIPS, where its weights are at hand."""

from __future__ import annotations

from typing import Literal
from urllib.error import URLError

import torch
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity


def perceptual_distance(
    backbone: Literal["alex", "vgg", "squeeze"], option: str
) -> LearnedPerceptualImagePatchSimilarity:
    """LPIPS of images in [0, 1].

    Args:
        backbone: Network whose torchvision weights are needed.
        option: Name of the setting, for the error.

    Raises:
        FileNotFoundError: If the backbone's weights are neither there nor within reach.

    Source: Zhang et al. 2018, "The unreasonable effectiveness of deep features".
    """
    try:
        return LearnedPerceptualImagePatchSimilarity(net_type=backbone, normalize=True)
    except URLError as error:
        raise FileNotFoundError(
            f"{option}={backbone}: torchvision's weights of that network are neither "
            f"in {torch.hub.get_dir()}/checkpoints nor within reach ({error.reason}); put them "
            f"there or take {option}=null"
        ) from error
