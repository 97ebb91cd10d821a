"""Run an infilling network at another size than the image's, reading kept pixels only."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]

_MULTIPLE = 8  # pixels; what the sides of the networks' inputs have to be divisible by


def fill_at(
    fill: Callable[[Tensor, Tensor], Tensor],
    image: Tensor,
    keep: Tensor,
    resolution: int | None = None,
    max_batch: int | None = None,
) -> Tensor:
    """Call `fill` on an image and keep-mask of a size that its network takes, and go back.

    With `resolution=None` the size stays, and sides that are no multiple of 8 are extended
    at the bottom and right by repeating the last row and column, mask included. With a number,
    the short side becomes `resolution`, the long one keeps the aspect ratio to the nearest
    multiple of 8; see `resize_kept`.

    Args:
        fill: (image, keep) of the new size -> (n, 3, h', w') of the new size.
        image: (n, 3, h, w).
        keep: (n, 1, h, w) of zeros and ones, 1 keeps.
        resolution: Short side in pixels at which `fill` works, a multiple of 8, or None.
        max_batch: Rows that `fill` gets at once, or None for all.

    Returns:
        (n, 3, h, w).
    """
    if max_batch is not None and len(image) > max_batch:
        chunks = zip(torch.split(image, max_batch), torch.split(keep, max_batch), strict=True)
        return torch.cat([fill_at(fill, some, kept, resolution) for some, kept in chunks])
    size = (image.shape[-2], image.shape[-1])
    target = working_size(size, resolution)
    if target == size:
        return fill(image, keep)
    if resolution is None:
        rows, columns = target[0] - size[0], target[1] - size[1]
        filled = fill(
            F.pad(image, (0, columns, 0, rows), mode="replicate"),
            F.pad(keep, (0, columns, 0, rows), mode="replicate"),
        )
        return filled[..., : size[0], : size[1]]
    filled = fill(*resize_kept(image, keep, target))
    aligned = _enlarges(size, target)
    return F.interpolate(filled, size, mode="bilinear", align_corners=aligned)


def check_options(resolution: int | None, max_batch: int | None) -> None:
    """Complain about bad options of an infiller before its weights are loaded.

    Raises:
        ValueError: If `resolution` is no positive multiple of 8, or `max_batch` is below 1.
    """
    if resolution is not None and (resolution < _MULTIPLE or resolution % _MULTIPLE):
        raise ValueError(
            f"infiller.resolution must be a multiple of {_MULTIPLE} pixels or null, "
            f"got {resolution}"
        )
    if max_batch is not None and max_batch < 1:
        raise ValueError(f"infiller.max_batch must be at least 1 or null, got {max_batch}")


def working_size(size: Size, resolution: int | None) -> Size:
    """The size at which `fill_at` calls the network."""
    if resolution is None:
        return (-(-size[0] // _MULTIPLE) * _MULTIPLE, -(-size[1] // _MULTIPLE) * _MULTIPLE)
    scale = resolution / min(size) / _MULTIPLE
    return round(size[0] * scale) * _MULTIPLE, round(size[1] * scale) * _MULTIPLE


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
