"""The box classifier with other outputs, for command lines."""

from planted import BoxBrightness
from torch import nn


class BoxLogit(nn.Module):
    """One output: the log-odds of the box classifier."""

    def forward(self, x):
        return BoxBrightness()(x)[:, 1:]


class BoxDetached(nn.Module):
    """The box classifier, out of reach of gradients."""

    def forward(self, x):
        return BoxBrightness()(x.detach())
