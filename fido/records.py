"""What flows through fido: a `Sample` goes into an explainer, an `Explanation` comes out."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with what is known about it.

    Attributes:
        id: Names the image in every artefact; unique in its data source, safe as a file name.
        image: (3, h, w) RGB in [0, 1], at the classifier's size.
        label: Class index of the ground truth, where the source has one.
        boxes: (n, 4) boxes xmin, ymin, xmax, ymax in pixels of `image`, where the source has any.
        target: Class index to explain; set by `fido.runs.target.resolve_target` before explaining.
    """

    id: str
    image: Tensor
    label: int | None = None
    boxes: Tensor | None = None
    target: int | None = None


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
        history: Curves of the optimisation, each (steps,) float32: "loss" and "score" in nats,
            "area" as a share of the image.
        cost: Rows that went through each network: "forward", "backward", "infill".
        failure: Why there is no usable map (a non-finite loss, say); None on success.
    """

    id: str
    target: int
    saliency: Tensor
    threshold: float = 0.5
    keep_prob: Tensor | None = None
    history: dict[str, Tensor] = field(default_factory=dict)
    cost: dict[str, int] = field(default_factory=dict)
    failure: str | None = None

    @property
    def region(self) -> Tensor:
        """(1, h, w) bool: where the saliency is finite and exceeds the threshold."""
        return (self.saliency > self.threshold) & self.saliency.isfinite()
