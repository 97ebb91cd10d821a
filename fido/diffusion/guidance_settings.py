"""How a classifier pushes a diffusion process: the settings of guided sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fido.diffusion.guidance import NORMS
from fido.diffusion.guides import Guide
from fido.diffusion.self_masks import SelfMask

Variable = Literal["x_t", "x0", "chain"]
VARIABLES = ("x_t", "x0", "chain")


@dataclass(frozen=True, eq=False)
class Guidance:
    """How a classifier pushes.

    Attributes:
        variable: What its gradient is taken for: "x_t", through the denoiser; "x0", the estimate;
            "chain", the image that an unguided chain of all steps left makes of x_t.
        norm: What the gradient's length is matched to, one of `fido.diffusion.guidance.NORMS`.
        confidence: Probability of the target from which an image is not pushed; None: always.
        distance: Weight of the distance to the photo beside the class, 0 or more.
        power: p of the distance `sum |x0 - photo|^p`, 1 or more.
        distance_through_denoiser: Whether its gradient is taken for x_t, too, or for the estimate.
        copies: Shifted copies of which the gradient is the mean; 1 is the image alone.
        guide: Turns or thins the gradient; None leaves it.
        mask: Where the change is taken, beside the region; None: everywhere.
        class_weight: How far the estimate follows the denoiser's own idea of the target class,
            `x0 + weight (x0 given the class - x0)`, where it has one, until `confidence` is
            reached. With 0 only the explained classifier pushes; with more, compare with the same
            weight and no classifier (a scale of 0).
        paired: Whether the change is taken against the unguided process on the same noise, or
            against the photo, which adds what the denoiser alone loses.
        smooth: Standard deviation of a Gaussian that smooths the change, as a share of the image's
            shorter side; 0 leaves it.

    Raises:
        ValueError: If an argument is out of range.
    """

    variable: Variable = "x_t"
    norm: str = "epsilon"
    confidence: float | None = 0.9
    distance: float = 0.0
    power: float = 1.0
    distance_through_denoiser: bool = False
    copies: int = 1
    guide: Guide | None = None
    mask: SelfMask | None = None
    class_weight: float = 0.0
    paired: bool = False
    smooth: float = 0.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("variable", self.variable, VARIABLES),
            ("norm", self.norm, NORMS),
        ):
            if value not in known:
                raise ValueError(f"explainer.{name} must be one of {', '.join(known)}, got {value}")
        if self.confidence is not None and not 0 < self.confidence <= 1:
            raise ValueError(f"explainer.confidence must be in (0, 1] or null: {self.confidence}")
        if self.distance < 0 or self.power < 1 or self.copies < 1 or self.class_weight < 0:
            raise ValueError(
                "explainer needs distance and class_weight >= 0, power and copies >= 1, "
                f"got {self.distance}, {self.class_weight}, {self.power} and {self.copies}"
            )
        if not 0 <= self.smooth < 0.25:
            raise ValueError(
                "explainer.smooth is a share of the image's side, 0 or more and less than 0.25, "
                f"got {self.smooth}"
            )
        if self.distance_through_denoiser and self.variable != "x_t":
            raise ValueError("explainer.distance_through_denoiser needs explainer.variable=x_t")
        if self.guide is not None and self.variable == "chain":
            raise ValueError("explainer.guide needs explainer.variable=x_t or x0")
        if self.paired and self.variable == "chain":
            raise ValueError("explainer.paired needs explainer.variable=x_t or x0")
