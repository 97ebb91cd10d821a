"""What flows through fido: a `Sample` goes into an explainer, an `Explanation` comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = 1e-4
"""How far pixels may lie outside of [0, 1]: resampling and half precision round."""


def unit_pixels(pixels: Tensor, what: str = "") -> Tensor:
    """Pixels as float32 in [0, 1].

    Args:
        pixels: Any shape; uint8 in 0 to 255, or floating point in [0, 1].
        what: Stands before the message of an error.

    Raises:
        ValueError: If type or range is another; says what to do.
    """
    if pixels.dtype == torch.uint8:
        return pixels.float().div(255)
    if not pixels.is_floating_point():
        raise ValueError(
            f"{what}pixels must be uint8 in 0 to 255 or floating point in [0, 1], got "
            f"{pixels.dtype}"
        )
    pixels = pixels.float()
    if not pixels.numel():
        raise ValueError(f"{what}no pixels: the shape is {tuple(pixels.shape)}")
    low, high = (float(value) for value in pixels.detach().aminmax())
    if low >= -ROUNDING and high <= 1 + ROUNDING:  # so written that NaN is refused too
        return pixels
    if low != low or high != high:
        reason = "replace NaN by a colour"
    elif low < 0:
        reason = "do not subtract mean or divide by std, the classifier does"
    else:
        reason = (
            "divide 0 to 255 by 255" if high <= 255 else "divide by the largest value there can be"
        )
    raise ValueError(
        f"{what}floating-point pixels must lie in [0, 1], got {low:.3g} to {high:.3g}; {reason}"
    )


class Key(NamedTuple):
    """What a result belongs to: files, scores, resuming and shards go by it.

    Random numbers go by image and seed alone, so that methods and targets are compared on the
    same noise.

    Attributes:
        image_id: Id of the image in its source; any text.
        target: Class index that is explained.
        seed: Seed of the run.
    """

    image_id: str
    target: int
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.image_id} (class {self.target}, seed {self.seed})"


@dataclass(frozen=True)
class PhotoRecord:
    """Which photo a sample was cut from: what it is, not only what it is called.

    Attributes:
        path: Of the file, absolute; the image's id where there is no file.
        sha256: Of the file's bytes, or of the pixels where there is no file; hexadecimal.
        width: In pixels, upright.
        height: In pixels, upright.
        crop: Left, top, right, bottom of the part that is shown to the classifier, in pixels.
    """

    path: str
    sha256: str
    width: int
    height: int
    crop: tuple[float, float, float, float]

    @property
    def share(self) -> float:
        """Share of the photo's area that is shown, in (0, 1]; the rest is cropped."""
        left, top, right, bottom = self.crop  # a letterbox reaches beyond the photo
        seen = (min(right, self.width) - max(left, 0)) * (min(bottom, self.height) - max(top, 0))
        return seen / (self.width * self.height)

    def __str__(self) -> str:
        return f"{self.path} ({self.width} x {self.height} pixels, sha256 {self.sha256[:12]})"


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with what is known about it.

    Attributes:
        id: Name of the image, unique in its data source; any text.
        image: (3, h, w) RGB in [0, 1], at the classifier's size.
        label: Class index of the ground truth, where the source has one.
        boxes: (n, 4) boxes xmin, ymin, xmax, ymax in pixels of `image`, where the source has any.
        target: Class index to explain; set by `fido.runs.target.resolve_target` before explaining.
        photo: The photo that it was cut from, where it comes from a source.

    Images of uint8, of other floating-point types and batches of one are converted.

    Raises:
        ValueError: If the image has another shape, or values that are not in [0, 1], or the target
            is negative; says what to do.
    """

    id: str
    image: Tensor
    label: int | None = None
    boxes: Tensor | None = None
    target: int | None = None
    photo: PhotoRecord | None = None

    def __post_init__(self) -> None:
        image = self.image[0] if self.image.ndim == 4 and len(self.image) == 1 else self.image
        if image.ndim != 3 or image.shape[0] != 3:
            raise ValueError(
                f"sample {self.id!r}: an image must be RGB of shape (3, h, w), got "
                f"{tuple(self.image.shape)}; fido.load_image brings arrays, files and PIL images "
                "to that"
            )
        object.__setattr__(self, "image", unit_pixels(image, f"sample {self.id!r}: "))
        if self.target is not None and self.target < 0:
            raise ValueError(
                f"sample {self.id!r}: target {self.target} is not a class index; -1 is not the "
                "last class, nor does it stand for an image without a label (label=None)"
            )


@dataclass(frozen=True, eq=False)
class Explanation:
    """What an explainer says about one sample.

    Attributes:
        id: The sample's id.
        target: Class index that was explained.
        saliency: (1, h, w) raw float32; higher is more evidence for the target.
        threshold: Saliency above it is the explanation's region; 0.5 for maps of probabilities.
        keep_prob: (1, h, w) probability that the optimised mask keeps the pixel, where the method
            has one; the same as `saliency` for SSR, one minus it for SDR.
        counterfactual: (3, h, w) uint8 image that the classifier takes for `target`, where the
            method makes one.
        estimates: (k, 3, h', w') uint8 images on the way to the counterfactual, first to last, at
            the size that the method works at.
        standard_error: (1, h, w) of `keep_prob` over repeated optimisations, where there were some.
        history: Curves of the optimisation, each (steps,) float32: "loss" and "score" in nats,
            "area" as a share of the image.
        cost: Rows that went through each network: "forward", "backward", "infill".
        failure: Why there is no usable map (a non-finite loss, say); None on success.
        seed: Seed of the run; set by the runner.
    """

    id: str
    target: int
    saliency: Tensor
    threshold: float = 0.5
    keep_prob: Tensor | None = None
    standard_error: Tensor | None = None
    counterfactual: Tensor | None = None
    estimates: Tensor | None = None
    history: dict[str, Tensor] = field(default_factory=dict)
    cost: dict[str, int] = field(default_factory=dict)
    failure: str | None = None
    seed: int = 0

    @property
    def key(self) -> Key:
        """What the explanation is stored under."""
        return Key(self.id, self.target, self.seed)

    @property
    def region(self) -> Tensor:
        """(1, h, w) bool: where the saliency is finite and exceeds the threshold."""
        return (self.saliency > self.threshold) & self.saliency.isfinite()


@dataclass(frozen=True, eq=False)
class RegionEdit:
    """Two edits of an image, by a region, and the classifier's answers.

    Attributes:
        kept: (3, h, w) the region as it was, everything else infilled; in [0, 1].
        removed: (3, h, w) the complement: the region infilled, everything else as it was.
        probabilities: (3, classes) of the image itself, of `kept`, of `removed`.
    """

    kept: Tensor
    removed: Tensor
    probabilities: Tensor
