"""Infill at another resolution than the image's, from kept pixels only."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


def infill_at_resolution(
    fill: Callable[[Tensor, Tensor], Tensor],
    image: Tensor,
    keep: Tensor,
    resolution: int | None = None,
    rows_per_pass: int | None = None,
    *,
    multiple: int = 8,
) -> Tensor:
    """Call `fill` on an image and keep-mask of a size that its network takes, and resize back.

    With `resolution=None` the size stays, and sides that are no multiple of `multiple` are
    extended at the bottom and right by repeating the last row and column, mask included. With a
    number, the short side becomes `resolution`, the long one keeps the aspect ratio to the
    nearest multiple; see `resize_kept`.

    Args:
        fill: (image, keep) of the new size -> (n, 3, h', w') of the new size.
        image: (n, 3, h, w).
        keep: (n, 1, h, w) of zeros and ones, 1 keeps.
        resolution: Short side in pixels at which `fill` works, or None.
        rows_per_pass: Rows that `fill` gets at once, or None for all.
        multiple: What the sides have to be divisible by, in pixels.

    Returns:
        (n, 3, h, w).
    """
    if rows_per_pass is not None and len(image) > rows_per_pass:
        chunks = zip(
            torch.split(image, rows_per_pass), torch.split(keep, rows_per_pass), strict=True
        )
        filled = [
            infill_at_resolution(fill, x, kept, resolution, multiple=multiple) for x, kept in chunks
        ]
        return torch.cat(filled)
    size = (image.shape[-2], image.shape[-1])
    target = working_size(size, resolution, multiple=multiple)
    if target == size:
        return fill(image, keep)
    if resolution is None:
        rows, columns = target[0] - size[0], target[1] - size[1]
        extended = fill(
            F.pad(image, (0, columns, 0, rows), mode="replicate"),
            F.pad(keep, (0, columns, 0, rows), mode="replicate"),
        )
        return extended[..., : size[0], : size[1]]
    resized = fill(*resize_kept(image, keep, target))
    aligned = _enlarges(size, target)
    return F.interpolate(resized, size, mode="bilinear", align_corners=aligned)


def check_options(resolution: int | None, rows_per_pass: int | None, *, multiple: int = 8) -> None:
    """Check options of an infiller before its weights are loaded.

    Raises:
        ValueError: If `resolution` is no positive multiple of `multiple`, or `rows_per_pass` < 1.
    """
    if resolution is not None and (resolution < multiple or resolution % multiple):
        raise ValueError(
            f"infiller.resolution must be a multiple of {multiple} pixels or null, got {resolution}"
        )
    if rows_per_pass is not None and rows_per_pass < 1:
        raise ValueError(f"infiller.rows_per_pass must be at least 1 or null, got {rows_per_pass}")


def working_size(size: Size, resolution: int | None, *, multiple: int = 8) -> Size:
    """The size at which `infill_at_resolution` calls the network."""
    if resolution is None:
        return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple
    scale = resolution / min(size) / multiple
    return round(size[0] * scale) * multiple, round(size[1] * scale) * multiple


def resize_kept(image: Tensor, keep: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Resize an image and its keep-mask so that no dropped pixel has a part in the result.

    `image' = resize(image * keep) / resize(keep)`, zero where nothing is kept. Shrinking averages
    areas and keeps every pixel that covers a kept one; enlarging is bilinear with aligned corners
    and keeps where the resized mask is at least 1/2 (the rule of the 2018 FIDO code).

    Args:
        image: (n, 3, h, w).
        keep: (n, 1, h, w) of zeros and ones, 1 keeps.
        size: Rows and columns of the result.
    """
    both = torch.cat([image * keep, keep], dim=1)
    if _enlarges((image.shape[-2], image.shape[-1]), size):
        both = F.interpolate(both, size, mode="bilinear", align_corners=True)
        share = both[:, 3:]
        kept = share >= 0.5
    else:
        both = F.adaptive_avg_pool2d(both, size)
        share = both[:, 3:]
        kept = share > 0
    resized = torch.where(kept, both[:, :3] / share, 0.0)
    return resized, kept.to(keep.dtype)


def _enlarges(size: Size, target: Size) -> bool:
    return target[0] * target[1] > size[0] * size[1]
