"""The DeepFill v1 generator: a coarse network, then a refinement with contextual attention."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["elu", "relu", "none"]


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """(before, after) zero padding of one axis under TensorFlow's SAME rule.

    The output has ceil(size / stride) elements; an odd total puts the larger half *after*, so
    that a 3-wide kernel of stride 2 pads an even axis by (0, 1).
    """
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def nearest_aligned(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest-neighbour resize with aligned corners: output i reads round(i (n_in-1)/(n_out-1)).

    PyTorch has no such mode: its "nearest" reads floor(i n_in / n_out), which is the same for
    doubling, but not for halving, where this one moves from even to odd pixels half-way.

    Args:
        x: (n, c, h, w).
        size: Rows and columns of the output.
    """
    for axis, n_out in zip((2, 3), size, strict=True):
        n_in = x.shape[axis]
        # TensorFlow multiplies in float32 and rounds halves away from zero.
        scale = torch.tensor((n_in - 1) / max(n_out - 1, 1), dtype=torch.float32)
        index = (torch.arange(n_out, dtype=torch.float32) * scale + 0.5).floor().long()
        x = x.index_select(axis, index.to(x.device))
    return x


class Conv(nn.Conv2d):
    """Convolution with SAME padding, then an activation; `upsample` doubles the input first."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        upsample: bool = False,
        activation: Activation = "elu",
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, dilation=dilation)
        self.upsample = upsample
        self.activation = activation
        nn.init.xavier_uniform_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h', w')."""
        if self.upsample:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        k, s, d = self.kernel_size[0], self.stride[0], self.dilation[0]
        top, bottom = same_padding(x.shape[2], k, s, d)
        left, right = same_padding(x.shape[3], k, s, d)
        if (top, left) == (bottom, right):  # the convolution pads by itself, without a copy
            x = F.conv2d(x, self.weight, self.bias, s, (top, left), d)
        else:
            x = F.pad(x, (left, right, top, bottom))
            x = F.conv2d(x, self.weight, self.bias, s, 0, d)
        if self.activation == "elu":
            return F.elu(x)
        return F.relu(x) if self.activation == "relu" else x


def fuse_scores(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Let neighbouring queries prefer neighbouring keys.

    `s[p, q] <- s[p-1, q-1] + s[p, q] + s[p+1, q+1]`, first over flat row-major indices (a
    neighbour may be the first pixel of the next row), then over column-major ones; zero outside.

    Args:
        scores: (n, p, q) with p = q = rows * columns, both row-major.
        size: Rows and columns of the grid.

    Returns:
        (n, p, q), row-major: sums of nine scores, not averaged.
    """
    n, (rows, columns) = scores.shape[0], size
    scores = _add_diagonal_neighbours(scores)
    scores = scores.view(n, rows, columns, rows, columns).permute(0, 2, 1, 4, 3)
    scores = _add_diagonal_neighbours(scores.reshape(n, rows * columns, rows * columns))
    scores = scores.view(n, columns, rows, columns, rows).permute(0, 2, 1, 4, 3)
    return scores.reshape(n, rows * columns, rows * columns)


def _add_diagonal_neighbours(scores: Tensor) -> Tensor:
    total = scores.clone()
    total[:, 1:, 1:] += scores[:, :-1, :-1]
    total[:, :-1, :-1] += scores[:, 1:, 1:]
    return total


def contextual_attention(x: Tensor, hole: Tensor, softmax_scale: float = 10.0) -> Tensor:
    """Rebuild every patch of a feature map from similar patches that no hole touches.

    With P_k the k x k patches, x' and hole' halved, L grid positions p, q:
    `s[p, q] = <P_3(x')_p, P_3(x')_q / max(|P_3(x')_q|, 1e-4)>`, fused over neighbours;
    `a = softmax_q(10 s v) v` with v_q = 1 where P_3(hole')_q is all zero (a masked key keeps the
    logit 0 in the softmax, so its share is lost); the output is the overlap-add of
    `sum_q a[p, q] P_4(x)_q` at stride 2, divided by 4 everywhere. No valid key: zero.

    Args:
        x: (n, c, h, w) features, h and w even.
        hole: (n, 1, h, w), 1 = hole; every row has its own.
        softmax_scale: Inverse temperature.

    Returns:
        (n, c, h, w).

    Source: Yu et al. 2018, section 4.1; generative_inpainting v1.0.0.
    """
    h, w = x.shape[-2:]
    half = (h // 2, w // 2)
    patches = F.unfold(x, 4, stride=2, padding=1)  # (n, 16 c, L)
    queries = F.unfold(nearest_aligned(x, half), 3, padding=1)  # (n, 9 c, L)
    keys = queries / queries.norm(dim=1, keepdim=True).clamp_min(1e-4)
    scores = fuse_scores(queries.transpose(1, 2) @ keys, half)  # (n, L, L)
    touched = F.max_pool2d(nearest_aligned(hole, half), 3, stride=1, padding=1)
    valid = (touched == 0).to(x.dtype).flatten(1).unsqueeze(1)  # (n, 1, L)
    attention = torch.softmax(softmax_scale * scores * valid, dim=-1) * valid
    pasted = patches @ attention.transpose(1, 2)
    return F.fold(pasted, (h, w), 4, stride=2, padding=1) / 4


class DeepFill(nn.Module):
    """Two-stage inpainting network; 42 convolutions, 3,601,542 parameters, no normalisation.

    The released weights expect BGR. Layer names follow the released variables.

    Source: Yu et al. 2018, "Generative Image Inpainting with Contextual Attention" (CVPR), and
    the release v1.0.0 of its authors' project, which the paper's layer table abridges.
    """

    def __init__(self) -> None:
        super().__init__()
        self.coarse = nn.Sequential(
            OrderedDict(
                conv1=Conv(5, 32, kernel=5),
                conv2_downsample=Conv(32, 64, stride=2),
                conv3=Conv(64, 64),
                conv4_downsample=Conv(64, 128, stride=2),
                conv5=Conv(128, 128),
                conv6=Conv(128, 128),
                **_atrous("conv"),
                conv11=Conv(128, 128),
                conv12=Conv(128, 128),
                **_to_image("conv"),
            )
        )
        self.hallucination = nn.Sequential(
            OrderedDict(
                xconv1=Conv(5, 32, kernel=5),
                xconv2_downsample=Conv(32, 32, stride=2),
                xconv3=Conv(32, 64),
                xconv4_downsample=Conv(64, 64, stride=2),
                xconv5=Conv(64, 128),
                xconv6=Conv(128, 128),
                **_atrous("xconv"),
            )
        )
        self.before_attention = nn.Sequential(
            OrderedDict(
                pmconv1=Conv(5, 32, kernel=5),
                pmconv2_downsample=Conv(32, 32, stride=2),
                pmconv3=Conv(32, 64),
                pmconv4_downsample=Conv(64, 128, stride=2),
                pmconv5=Conv(128, 128),
                pmconv6=Conv(128, 128, activation="relu"),
            )
        )
        self.after_attention = nn.Sequential(
            OrderedDict(pmconv9=Conv(128, 128), pmconv10=Conv(128, 128))
        )
        self.decoder = nn.Sequential(
            OrderedDict(allconv11=Conv(256, 128), allconv12=Conv(128, 128), **_to_image("allconv"))
        )

    def forward(self, image: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """Fill the holes of images.

        Args:
            image: (n, 3, h, w) BGR in [-1, 1]; what it holds inside the hole is not looked at.
            hole: (n, 1, h, w) of zeros and ones, **1 = hole**, one for every row.

        Returns:
            The coarse and the refined image, each (n, 3, h, w) in [-1, 1], not composited.

        Raises:
            ValueError: If h or w is not a multiple of 8.
        """
        if image.shape[-2] % 8 or image.shape[-1] % 8:
            raise ValueError(
                "DeepFill needs an image whose sides are multiples of 8 pixels, "
                f"got {image.shape[-2]} x {image.shape[-1]}"
            )
        known = image * (1 - hole)  # the hole becomes mid-grey
        # The plane of ones lets a network that pads with zeros see where the image ends.
        planes = torch.cat([torch.ones_like(hole), hole], dim=1)
        coarse = self.coarse(torch.cat([known, planes], dim=1)).clamp(-1, 1)
        x = torch.cat([coarse * hole + known, planes], dim=1)
        hallucinated = self.hallucination(x)
        features = self.before_attention(x)
        attended = contextual_attention(features, nearest_aligned(hole, _size(features)))
        attended = self.after_attention(attended)
        refined = self.decoder(torch.cat([hallucinated, attended], dim=1)).clamp(-1, 1)
        return coarse, refined


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


def _atrous(prefix: str) -> dict[str, Conv]:
    return {f"{prefix}{7 + i}_atrous": Conv(128, 128, dilation=2 << i) for i in range(4)}


def _to_image(prefix: str) -> dict[str, Conv]:
    return {
        f"{prefix}13_upsample": Conv(128, 64, upsample=True),
        f"{prefix}14": Conv(64, 64),
        f"{prefix}15_upsample": Conv(64, 32, upsample=True),
        f"{prefix}16": Conv(32, 16),
        f"{prefix}17": Conv(16, 3, activation="none"),
    }
