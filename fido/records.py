"""What flows through fido: a `Sample` goes into an explainer, an `Explanation` comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor


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
    """

    id: str
    image: Tensor
    label: int | None = None
    boxes: Tensor | None = None
    target: int | None = None
    photo: PhotoRecord | None = None


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
