"""Where the object of an image is, for experiments that remove it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torchvision.models import segmentation

from fido.classifiers.state import load_state, read_state
from fido.masks.regions import inside, pixel_boxes
from fido.records import Sample

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ObjectRegion(Protocol):
    """Finds an object's pixels."""

    def find(self, sample: Sample) -> Tensor | None:
        """(h, w) bool on the CPU, or None where the image gives no way to tell."""
        ...


class BoxRegion:
    """The union of the image's ground-truth boxes."""

    def find(self, sample: Sample) -> Tensor | None:
        """See `ObjectRegion.find`; None for images without boxes."""
        if sample.boxes is None or not len(sample.boxes):
            return None
        h, w = int(sample.image.shape[-2]), int(sample.image.shape[-1])
        return inside(pixel_boxes(sample.boxes, h, w), h, w)


class SegmentedRegion:
    """The pixels that a segmentation network gives to some classes.

    Args:
        weights: File with the state dict of the torchvision network.
        network: Name of a torchvision segmentation network.
        classes: Its number of classes.
        wanted: Indices of the classes that are the object; 3 is "bird" of PASCAL VOC.

    Raises:
        FileNotFoundError, ValueError: If the weights cannot be read or do not fit.

    Source: Agarwal and Nguyen 2020, Table 1 (DeepLab on birds).
    """

    def __init__(
        self,
        weights: str,
        network: str = "deeplabv3_resnet101",
        classes: int = 21,
        wanted: Sequence[int] = (3,),
    ) -> None:
        build = getattr(segmentation, network, None)
        if build is None:
            raise ValueError(f"torchvision has no segmentation network {network!r}")
        # Released weights carry an auxiliary head that only training uses.
        self.network: nn.Module = build(weights=None, weights_backbone=None, num_classes=classes)
        state = read_state(weights)
        kept = {k: v for k, v in state.items() if not k.startswith("aux_classifier.")}
        load_state(self.network, kept, weights)
        self.network.eval().requires_grad_(False)
        self.wanted = torch.tensor(list(wanted))

    @torch.no_grad()
    def find(self, sample: Sample) -> Tensor:
        """See `ObjectRegion.find`."""
        mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
        normalised = ((sample.image - mean) / std).unsqueeze(0)
        classes = self.network(normalised)["out"][0].argmax(0)
        return torch.isin(classes, self.wanted)
