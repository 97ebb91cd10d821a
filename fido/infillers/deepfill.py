"""Infill with DeepFill v1 and its authors' released weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fido.infillers.base import Infiller, keep_known, per_mask
from fido.infillers.resolution import check_options, infill_at_resolution
from fido.networks.deepfill import DeepFill
from fido.runtime.noise import ImageNoise
from fido.weights.deepfill import read_release, where_to_get


class DeepFillInfiller(Infiller):
    """Fill with the refined image of the 2018 contextual-attention network; kept pixels stay.

    The package holds no weights for it; `docs/models/deepfill.md` tells how to get them. Unlike
    the 2018 wrapper nothing is rounded to 8 bits, and at another resolution than the image's only
    kept pixels are averaged, so that dropped ones cannot leak into the fill.

    Args:
        weights: The released TensorFlow snapshot (its folder, prefix or index file) or a
            `.safetensors` file that `python scripts/convert_deepfill.py` made of it.
        release: Which release the weights have to be: "imagenet", "places2" or "celeba"; None
            takes any weights of this network.
        resolution: Short side in pixels at which the network works, a multiple of 8; None is the
            image's own size, extended to multiples of 8; see
            `fido.infillers.resolution.infill_at_resolution`.
        rows_per_pass: Rows in one pass of the network, or None for all at once.

    Raises:
        FileNotFoundError: If there are no weights; the text says where to get them.
        ValueError: If the weights are damaged, do not fit, or are not of `release`.

    Source: Yu et al. 2018; Chang et al. 2019, section 4.1 ("CA").
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        release: str | None = "imagenet",
        resolution: int | None = 256,
        rows_per_pass: int | None = 8,
    ) -> None:
        super().__init__()
        check_options(resolution, rows_per_pass)
        if weights is None:
            raise FileNotFoundError(
                "the infiller deepfill needs a user's copy of its weights, and infiller.weights "
                "is null. " + where_to_get(release)
            )
        self.resolution = resolution
        self.rows_per_pass = rows_per_pass
        self.network = DeepFill()
        self.network.load_state_dict(read_release(Path(weights).expanduser(), release))
        self.network.eval().requires_grad_(False)

    @torch.no_grad()
    def infill(self, image: Tensor, keep: Tensor, noise: ImageNoise | None = None) -> Tensor:
        """See `Infiller.infill`."""
        rows = per_mask(image, self.repeats(image, keep))
        fill = infill_at_resolution(self._fill, rows, keep, self.resolution, self.rows_per_pass)
        return keep_known(fill, rows, keep)

    def _fill(self, image: Tensor, keep: Tensor) -> Tensor:
        hole = 1 - keep  # the network says 1 = hole
        bgr = image.flip(1) * 2 - 1
        refined: Tensor = self.network(bgr, hole)[1]
        return refined.flip(1).add(1).div(2)
