"""Turned and shifted copies of an image, of which a gradient is the mean."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fido.diffusion.frame import Frame
from fido.diffusion.guides import Moment


def shifted(frame: Frame, moment: Moment, copy: int, mask: Tensor | None) -> Tensor:
    """The image turned up to 15 degrees and shifted up to a tenth, its border repeated."""
    image = frame.image_of(moment.x0, mask)
    drawn = frame.problem.noise(f"{moment.purpose} copy {copy}", 3).view(-1, 3).clamp(-2, 2) / 2
    turn, shift = drawn[:, 0] * math.radians(15), drawn[:, 1:] * 0.2
    rows = torch.stack([turn.cos(), -turn.sin(), shift[:, 0]], 1)
    columns = torch.stack([turn.sin(), turn.cos(), shift[:, 1]], 1)
    grid = F.affine_grid(torch.stack([rows, columns], 1), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)
