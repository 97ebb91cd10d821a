"""A classifier of which only the answers are known: a function from images to probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fido.classifiers.base import Classifier

LEAST = 1e-7
"""Probabilities below it count as it, so that log-odds stay within 16 nats."""

Function = Callable[[NDArray[np.float32]], Any]


class BlackBox(Classifier):
    """Wraps a function that is asked for probabilities and has no gradient.

    A remote model, an ONNX session, a scikit-learn pipeline. Methods that only ask for
    probabilities explain it: `fido` with `explainer.gradient=leave_one_out`, `lime`, `rise`,
    `sliding_patch`, `occlusion`.

    Args:
        function: (n, 3, h, w) float32 array of RGB in [0, 1] -> (n, classes) probabilities; what
            it does to the pixels before it classifies them is its own affair. It must answer a
            row whatever other rows are asked with it.
        size: (h, w) in pixels of the images that it gets.
        class_names: One name a class; None numbers them on the first use of the function.
        interpolation: "bilinear" or "bicubic", for resizing photos to `size`.
        crop_fraction: Share of the short side that the central crop keeps, in (0, 1].

    Raises:
        ValueError: If the function does not return probabilities.
    """

    differentiable = False

    def __init__(
        self,
        function: Function,
        size: int | tuple[int, int],
        class_names: Sequence[str] | None = None,
        interpolation: str = "bilinear",
        crop_fraction: float = 1.0,
    ) -> None:
        super().__init__(
            _Asked(function),
            size,
            mean=(0, 0, 0),
            std=(1, 1, 1),
            class_names=class_names,
            interpolation=interpolation,
            crop_fraction=crop_fraction,
            channels_last=False,
            output="softmax",
            channels=3,
        )

    def _tried(self, images: int) -> Tensor:
        """(images, columns) of fixed random images; there is no graph to look at."""
        draws = torch.Generator().manual_seed(0)
        return self._outputs(torch.rand(images, 3, *self.size, generator=draws))


class _Asked(nn.Module):
    """Log probabilities of a function's answers; they are logits as good as any."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def __deepcopy__(self, memo: dict[int, Any]) -> _Asked:
        """A copy asks the same function: sessions and connections have no copies."""
        return _Asked(self.function)

    def forward(self, image: Tensor) -> Tensor:
        if image.requires_grad and torch.is_grad_enabled():
            raise ValueError(
                "this method needs a gradient, and the classifier is a function without one; use "
                "explainer=fido explainer.gradient=leave_one_out, lime, rise or sliding_patch"
            )
        answer = self.function(np.ascontiguousarray(image.detach().float().cpu().numpy()))
        probabilities = torch.as_tensor(np.asarray(answer), dtype=torch.float64)
        if probabilities.ndim != 2 or len(probabilities) != len(image):
            raise ValueError(
                f"the function must return probabilities ({len(image)}, classes) for "
                f"{len(image)} images, got an array of {tuple(probabilities.shape)}"
            )
        if probabilities.shape[1] < 2:
            raise ValueError(
                "the function must return a probability for each of two or more classes"
            )
        total = probabilities.sum(1)
        if bool((probabilities < 0).any()) or not bool(((total - 1).abs() < 1e-3).all()):
            raise ValueError(
                "the function must return probabilities, at least 0 and 1 in sum over the classes; "
                f"got a row with the sum {float(total[(total - 1).abs().argmax()]):.3g}"
            )
        return probabilities.clamp(min=LEAST).log().float().to(image.device)
