"""Bernoulli keep-masks over an image, relaxed so that they can be learned by gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fido.masks.draws import blob_uniform
from fido.runtime.checks import check_above, check_choice
from fido.runtime.noise import ImageNoise


def composite(image: Tensor, keep: Tensor, infill: Tensor) -> Tensor:
    """Return `keep * image + (1 - keep) * infill`.

    All mixing of images and infills goes through here.

    Args:
        image: (b, 3, h, w) in [0, 1].
        keep: (b * s, 1, h, w) in [0, 1]; row r belongs to image r // s.
        infill: (b * s, 3, h, w) in [0, 1].

    Returns:
        (b * s, 3, h, w); where keep is 1 it equals the image bit for bit.

    Source: Chang et al. 2019, eq. 2.
    """
    b, n = image.shape[0], keep.shape[0]
    rows = image.unsqueeze(1).expand(b, n // b, *image.shape[1:]).reshape_as(infill)
    # lerp is exact at both ends, and one pass over memory forward where the sum takes four.
    return torch.lerp(infill, rows, keep)


def binarize(keep: Tensor) -> Tensor:
    """Zeros and ones, without gradient: a pixel is kept where its value exceeds one half."""
    return (keep.detach() > 0.5).to(keep.dtype)


class ConcreteMask(nn.Module):
    """Independent Bernoulli keep-masks of b images, one learned dropout logit a grid cell.

    A sample is the binary concrete relaxation
    `z = sigmoid((logit(keep_prob) + logit(u)) / temperature)`, u uniform on (0, 1), for which
    P(z > 1/2) = keep_prob at every temperature.

    Args:
        images: Number b of images.
        size: (h, w) of the images in pixels.
        grid: (gh, gw) cells; one number means a square grid.
        temperature: Temperature of the relaxation, > 0; lower is nearer to zeros and ones. Two
            numbers are a geometric schedule from the first step's to the last step's.
        initial_keep_prob: Initial value of every cell, in (0, 1).
        unit: "pixel" samples every pixel of the upsampled map independently; "cell" samples every
            cell, so that holes are whole cells; "blob" samples pixels with correlated u (a
            Gaussian copula), so that holes are blobs; see `fido.masks.draws.blob_uniform`.
        upsample: Quantity that is upsampled to pixels while optimising: "probability" or "logit".
        final_map: Quantity that is upsampled to pixels for the final map: "probability" or "logit".
        align_corners: Option of the bilinear upsampling; True aligns the centres of corner cells
            and corner pixels, as PyTorch 0.3 did when the paper was written.
        blob_size: Pixels over which the u of "blob" are correlated; several sizes take turns.
        antithetic: Whether masks are drawn in pairs with u and 1 - u.
        grids: Cells a side, coarse to fine, instead of `grid`: each is learned for an equal share
            of the steps, on top of the upsampled logits of those before.

    Raises:
        ValueError: If a number is out of range or the grid is finer than the image.

    Source: Chang et al. 2019, section 3 and eq. 6; Maddison et al. 2017 (relaxation); Jang et al.
        2017 (annealing); Hammersley and Morton 1956 (antithetic pairs).
    """

    def __init__(
        self,
        images: int,
        size: tuple[int, int],
        grid: int | tuple[int, int] = 56,
        temperature: float | Sequence[float] = 0.1,
        initial_keep_prob: float = 0.5,
        unit: Literal["pixel", "cell", "blob"] = "pixel",
        upsample: Literal["probability", "logit"] = "probability",
        final_map: Literal["probability", "logit"] = "probability",
        align_corners: bool = False,
        blob_size: float | Sequence[float] = 16,
        antithetic: bool = False,
        grids: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        shapes = [(side, side) for side in grids or ()] or [
            (grid, grid) if isinstance(grid, int) else (grid[0], grid[1])
        ]
        for rows, columns in shapes:
            if not (1 <= rows <= size[0] and 1 <= columns <= size[1]):
                raise ValueError(
                    f"mask.grid must be between 1 and the image's {size[0]} x {size[1]} pixels, "
                    f"got {rows} x {columns}"
                )
        if shapes != sorted(set(shapes)):
            raise ValueError(f"mask.grids must go from coarse to fine, got {grids}")
        temperatures = [temperature] if isinstance(temperature, int | float) else [*temperature]
        if len(temperatures) not in (1, 2):
            raise ValueError(
                f"mask.temperature must be one number or a first and a last, got {temperature}"
            )
        blob_sizes = [blob_size] if isinstance(blob_size, int | float) else [*blob_size]
        if not blob_sizes:
            raise ValueError("mask.blob_size must be one number or several, got none")
        check_above(0, "mask", temperature=min(temperatures), blob_size=min(blob_sizes))
        if not 0 < initial_keep_prob < 1:
            raise ValueError(
                f"mask.initial_keep_prob must lie between 0 and 1, got {initial_keep_prob}"
            )
        check_choice(("pixel", "cell", "blob"), "mask", unit=unit)
        check_choice(("probability", "logit"), "mask", upsample=upsample, final_map=final_map)
        self.size = size
        self.temperatures = temperatures
        self.unit = unit
        self.upsample = upsample
        self.final_map_of = final_map
        self.align_corners = align_corners
        self.blob_sizes = blob_sizes
        self.antithetic = antithetic
        start = math.log1p(-initial_keep_prob) - math.log(initial_keep_prob)
        self.drop_logits = nn.Parameter(torch.full((images, 1, *shapes[0]), start))
        self.finer_logits = nn.ParameterList(torch.zeros(images, 1, *s) for s in shapes[1:])

    def temperature(self, progress: float) -> float:
        """The temperature when this share of the steps is done, from 0 (first step) to 1 (last)."""
        first, last = self.temperatures[0], self.temperatures[-1]
        return first if first == last else first * (last / first) ** progress

    def keep_prob(self, progress: float = 1.0) -> Tensor:
        """(b, 1, h, w) probability of keeping each pixel, with gradient; see `sample`."""
        logits = self._logits(progress)
        if self.upsample == "probability":
            return self._to_pixels(torch.sigmoid(-logits))
        return torch.sigmoid(-self._to_pixels(logits))

    @torch.no_grad()
    def final_keep_prob(self) -> Tensor:
        """(b, 1, h, w) the map of keep probabilities to show and to save."""
        logits = self._logits(1.0)
        if self.final_map_of == "probability":
            return self._to_pixels(torch.sigmoid(-logits))
        return torch.sigmoid(-self._to_pixels(logits))

    def sample(self, samples: int, noise: ImageNoise, progress: float = 0.0) -> Tensor:
        """Relaxed masks in (0, 1) with gradient, float32 also under autocast.

        Args:
            samples: Number s of masks per image.
            noise: The images' random numbers.
            progress: Share of the steps that are done, from 0 in the first step to 1 in the last:
                the place in the schedules of temperature and grids.

        Returns:
            (b * s, 1, h, w); row r belongs to image r // s.
        """
        temperature = self.temperature(progress)
        with torch.autocast(self.drop_logits.device.type, enabled=False):
            if self.unit == "cell":
                cells = self._relax(-self._logits(progress), samples, noise, temperature)
                return F.interpolate(cells, self.size, mode="nearest-exact")
            return self._relax(self._keep_logit(progress), samples, noise, temperature)

    def draw(self, samples: int, noise: ImageNoise, progress: float = 0.0) -> tuple[Tensor, Tensor]:
        """Binary masks and the logarithm of their probability, which has a gradient.

        They are those of `sample`, rounded: the same noise is kept and dropped alike.

        Returns:
            (b * s, 1, h, w) of zeros and ones without gradient, and (b * s,) log probability in
            nats; row r belongs to image r // s.

        Raises:
            ValueError: If masks are not drawn independently, or have no probability of their own.
        """
        if self.unit == "blob" or self.antithetic:
            raise ValueError(
                "explainer.gradient=leave_one_out needs masks that are drawn independently: "
                "mask.unit=cell or pixel, mask.antithetic=false"
            )
        logits = -self._logits(progress) if self.unit == "cell" else self._keep_logit(progress)
        with torch.no_grad():
            kept = (self._relax(logits, samples, noise, 1.0) > 0.5).to(logits.dtype)
        rows = logits.repeat_interleave(samples, 0)
        each = kept * F.logsigmoid(rows) + (1 - kept) * F.logsigmoid(-rows)
        if self.unit == "cell":
            kept = F.interpolate(kept, self.size, mode="nearest-exact")
        return kept, each.sum((1, 2, 3))

    def binarize(self, keep: Tensor) -> Tensor:
        """Zeros and ones, without gradient: a pixel is kept where its sample exceeds one half."""
        return binarize(keep)

    def _logits(self, progress: float) -> Tensor:
        """(b, 1, gh, gw) drop logits on the grid that is learned at this progress."""
        logits: Tensor = self.drop_logits
        stage = int(progress * (1 + len(self.finer_logits)))
        for finer in [*self.finer_logits][:stage]:
            cells = (finer.shape[-2], finer.shape[-1])
            logits = finer + F.interpolate(logits, cells, mode="bilinear", align_corners=False)
        return logits

    def _keep_logit(self, progress: float) -> Tensor:
        """(b, 1, h, w) logit of the keep probability of each pixel."""
        logits = self._logits(progress)
        if self.upsample == "logit":
            return -self._to_pixels(logits)
        # The learning rate bounds a cell's logit to about 7.5, so the clamp never binds at the
        # published settings; it keeps the logarithms finite at others.
        return torch.logit(self._to_pixels(torch.sigmoid(-logits)), eps=1e-6)

    def _relax(
        self, keep_logit: Tensor, samples: int, noise: ImageNoise, temperature: float
    ) -> Tensor:
        b, _, h, w = keep_logit.shape
        drawn = (samples + 1) // 2 if self.antithetic else samples
        if self.unit == "blob":
            u = blob_uniform(drawn, (h, w), self.blob_sizes, noise)
        else:
            u = noise.uniform(drawn, 1, h, w)
        # u can be exactly 0; the clamp bounds the logistic noise to about 17 nats.
        logistic = torch.logit(u, eps=6e-8).view(b, drawn, h, w)
        if self.antithetic:  # logit(1 - u) = -logit(u)
            logistic = torch.cat([logistic, -logistic], 1)[:, :samples]
        return torch.sigmoid((keep_logit + logistic) / temperature).view(-1, 1, h, w)

    def _to_pixels(self, cells: Tensor) -> Tensor:
        return F.interpolate(cells, self.size, mode="bilinear", align_corners=self.align_corners)


def cells_of(pixels: Tensor, grid: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Invert bilinear upsampling: (..., h, w) pixels to (..., gh, gw) cells.

    Averages over cells would mix every cell with its neighbours.

    Raises:
        ValueError: If the grid is finer than the image.
    """
    size = (int(pixels.shape[-2]), int(pixels.shape[-1]))
    if grid[0] > size[0] or grid[1] > size[1]:
        raise ValueError(f"a map of {size} pixels has no {grid} cells")
    rows, columns = (
        F.interpolate(
            torch.eye(cells, dtype=torch.float64, device=pixels.device).unsqueeze(0),
            length,
            mode="linear",
            align_corners=align_corners,
        )[0].pinverse()
        for cells, length in zip(grid, size, strict=True)
    )
    cells: Tensor = rows.mT @ pixels.double() @ columns
    return cells.to(pixels.dtype)
