"""How a photo becomes its counterfactual: the estimates on the way, as a GIF."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fido.diffusion.lift import residual_lift, to_8_bits
from fido.records import Explanation, Sample
from fido.runtime.files import atomic_path

STEP, REST = 220, 1200
"""Milliseconds of an estimate, and of the photo and the counterfactual."""

SIDE = 224
"""Smaller pictures are enlarged to about this height, pixel by pixel."""


def frames(sample: Sample, explanation: Explanation) -> Tensor | None:
    """Photo, estimates from the noisiest on, counterfactual, at the photo's size.

    Estimates are stored at the denoiser's size; their change is lifted to the photo's size as
    `fido.diffusion.lift.residual_lift` does it.

    Returns:
        (k, 3, h, w) uint8; None if nothing was kept on the way.
    """
    if explanation.counterfactual is None or explanation.estimates is None:
        return None
    photo = sample.image.unsqueeze(0)
    small = explanation.estimates.float() / 255
    lifted = residual_lift(photo.expand(len(small), -1, -1, -1), small)
    return torch.cat([to_8_bits(photo), to_8_bits(lifted), explanation.counterfactual.unsqueeze(0)])


def save_film(film: Tensor, path: Path) -> Path:
    """Write an endless GIF atomically.

    Args:
        film: See `frames`.
        path: The file.
    """
    factor = max(1, SIDE // film.shape[-2])
    film = film.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    # One palette for all frames: with one each, places that do not change would flicker.
    tall = Image.fromarray(film.permute(0, 2, 3, 1).flatten(0, 1).contiguous().numpy())
    palette = tall.quantize(256, dither=Image.Dither.NONE)
    pictures = [
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).quantize(
            palette=palette, dither=Image.Dither.FLOYDSTEINBERG
        )
        for image in film
    ]
    durations = [REST, *[STEP] * (len(pictures) - 2), REST]
    with atomic_path(path) as temporary:
        pictures[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
        )
    return path
