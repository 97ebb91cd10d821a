"""Classifiers whose answers can be worked out on paper, for tests of metrics."""

import torch
from torch import nn

from fido.classifiers.base import Classifier
from fido.records import Explanation, Sample


class Share(nn.Module):
    """Looks at how much of a box is white: `share` is the mean of the red channel inside it."""

    def __init__(self, box, kind):
        super().__init__()
        self.box = box
        self.kind = kind

    def forward(self, image):
        left, top, right, bottom = self.box
        share = image[:, 0, top:bottom, left:right].mean((1, 2))
        if self.kind == "probability":  # p(class 0) = share
            share = share.double().clamp(1e-9, 1 - 1e-9)
            return torch.stack([share.log(), (1 - share).log()], 1)
        return torch.stack([10 * share, torch.zeros_like(share)], 1)  # log-odds = 10 share


def share_classifier(box, size=(32, 48), kind="probability"):
    return Classifier(
        Share(box, kind), size, mean=(0.0,) * 3, std=(1.0,) * 3, class_names=["box", "none"]
    )


def white_sample(size=(32, 48), boxes=None, image_id="white", label=0):
    return Sample(
        image_id,
        torch.ones(3, *size),
        label=label,
        boxes=None if boxes is None else torch.tensor(boxes, dtype=torch.float32),
        target=label,
    )


def box_map(box, size=(32, 48), value=1.0):
    left, top, right, bottom = box
    saliency = torch.zeros(1, *size)
    saliency[:, top:bottom, left:right] = value
    return saliency


def explanation(saliency, image_id="white", target=0, threshold=0.5):
    return Explanation(image_id, target, saliency, threshold)
