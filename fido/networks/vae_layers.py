"""What encoders and decoders of the inpainting VAEs are made of."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PaperLayer(nn.Sequential):
    """Convolution, ReLU, batch normalisation, in this order."""

    def __init__(
        self, inside: int, outside: int, kernel: int = 3, stride: int = 1, dilation: int = 1
    ) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(
            nn.Conv2d(inside, outside, kernel, stride, padding, dilation),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(outside),
        )


class ResidualLayer(nn.Module):
    """SiLU and convolution; twice, and added to the input, where the shape stays."""

    def __init__(
        self, inside: int, outside: int, kernel: int = 3, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.first = nn.Conv2d(inside, outside, kernel, stride, padding, dilation)
        adds = inside == outside and stride == 1
        self.second = nn.Conv2d(outside, outside, kernel, padding=kernel // 2) if adds else None

    def forward(self, x: Tensor) -> Tensor:
        """(n, inside, h, w) -> (n, outside, h / stride, w / stride)."""
        y: Tensor = self.first(F.silu(x))
        return y if self.second is None else x + self.second(F.silu(y, inplace=True))


class PaperUp(nn.Sequential):
    """Transposed 4 x 4 convolution of stride 2, ReLU, batch normalisation."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(inside, outside, 4, 2, 1),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(outside),
        )


class ResidualUp(nn.Module):
    """SiLU, 1 x 1 convolution, twice the resolution by nearest neighbour."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inside, h, w) -> (n, outside, 2h, 2w)."""
        return F.interpolate(self.conv(F.silu(x)), scale_factor=2.0, mode="nearest")
