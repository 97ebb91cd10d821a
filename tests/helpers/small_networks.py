"""Tiny networks with known feature maps, wrapped as classifiers, and a photo for them."""

import torch
from planted import planted_sample
from torch import nn

from fido.classifiers.base import Classifier
from fido.runtime.noise import ImageNoise


class Curved(nn.Module):
    """A tiny network with curvature everywhere, two classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 5, stride=2), nn.Tanh(), nn.Conv2d(6, 4, 3, stride=2), nn.Softplus()
        )
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(3 * self.body(x).mean((2, 3)))


class BrightCells(nn.Module):
    """Feature maps that are bright 4 x 4 cells, and cells of the box that speak for class 1."""

    def __init__(self):
        super().__init__()
        self.cells = nn.Conv2d(3, 2, 4, stride=4)
        nn.init.constant_(self.cells.weight, 1 / 48)
        self.cells.bias = nn.Parameter(torch.tensor([-0.5, 0.5]))  # the other map is bright always
        self.active = nn.ReLU(inplace=True)

    def forward(self, x):
        maps = self.active(self.cells(x))
        score = 20 * maps[:, 0].mean((1, 2)) - 0.1 * maps[:, 1].mean((1, 2))
        return torch.stack([torch.zeros_like(score), score], 1)


class TwoLayers(nn.Module):
    """Two layers of features and logits of two classes."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2)
        self.second = nn.Conv2d(4, 6, 3, stride=2)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.second(torch.relu(self.first(x))).mean((2, 3)))


def seeded(seed):
    """`TwoLayers` with weights of a seed, as a config names it."""
    torch.manual_seed(seed)
    return Classifier(TwoLayers(), (40, 48), (0,) * 3, (1,) * 3, class_names=["dark", "bright"])


def wrapped(network, size=(40, 48)):
    return Classifier(network, size=size, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


def plain(network, size=(40, 48)):
    return Classifier(network, size=size, mean=(0, 0, 0), std=(1, 1, 1))


def noisy_sample(image_id="noisy"):
    sample = planted_sample(image_id=image_id)
    image = sample.image + 0.1 * ImageNoise(0, [image_id], "test").uniform(1, 3, 40, 48)[0]
    return type(sample)(image_id, image, target=1)
