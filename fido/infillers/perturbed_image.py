"""Many versions of one image with pixels infilled, one row each: for explainers and metrics."""

from __future__ import annotations

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.infillers.base import Infiller
from fido.masks.concrete import binarize, composite
from fido.records import Sample
from fido.runtime.batching import Batches
from fido.runtime.noise import ImageNoise


class PerturbedImage:
    """Infill one image under any number of masks, in pieces of any size.

    Row r does not depend on the rows that are computed with it: an infiller that draws random
    numbers gets those of (seed, image, r).

    Args:
        infiller: Fills dropped pixels.
        image: (1, 3, h, w) in [0, 1].
        image_id: Names the image's random numbers.
        seed: Seed of the infiller's random numbers.

    Attributes:
        fixed: (1, 3, h, w) the proposal for every mask, for infillers that have only one.
        infills: Rows that went through the infiller so far.
    """

    def __init__(self, infiller: Infiller, image: Tensor, image_id: str, seed: int) -> None:
        self.infiller = infiller
        self.image = image
        self.image_id = image_id
        self.seed = seed
        self.fixed: Tensor | None = None
        self.infills = 0
        if infiller.one_proposal:
            self.fixed = infiller.infill(image, torch.zeros_like(image[:, :1]))
            self.infills = 1

    @torch.no_grad()
    def rows(self, keep: Tensor, start: int) -> Tensor:
        """Return perturbed images.

        Args:
            keep: (k, 1, h, w) in [0, 1]; the infiller gets it binarised.
            start: Number of the first row.

        Returns:
            (k, 3, h, w).
        """
        return composite(self.image, keep, self._infill(keep, start))

    def _infill(self, keep: Tensor, start: int) -> Tensor:
        count = keep.shape[0]
        if self.fixed is not None:
            return self.fixed.expand(count, *self.image.shape[1:])
        self.infills += count
        hard = binarize(keep)
        if not self.infiller.needs_noise:
            return self.infiller.infill(self.image, hard)
        ids = [f"{self.image_id}/{row}" for row in range(start, start + count)]
        noise = ImageNoise(self.seed, ids, "infill", keep.device)
        return self.infiller.infill(self.image.expand(count, *self.image.shape[1:]), hard, noise)


class EditedImage:
    """One image with pixels dropped and infilled by a metric's own infiller.

    Row r does not depend on the rows that are computed with it, and its random numbers are not
    those of an explainer with the same seed.

    Args:
        classifier: Gives the logits.
        infiller: Fills the dropped pixels; None leaves the image as it is.
        sample: The image.
        purpose: Names the stream of the infiller's random numbers.
        seed: Seed of the infiller's random numbers.
    """

    def __init__(
        self,
        classifier: Classifier,
        infiller: Infiller | None,
        sample: Sample,
        purpose: str,
        seed: int = 0,
    ) -> None:
        self.classifier = classifier
        self.image = sample.image.to(classifier.device).unsqueeze(0)
        name = f"{sample.id}#{purpose}"
        self._perturbed = (
            None if infiller is None else PerturbedImage(infiller, self.image, name, seed)
        )

    def images(self, keep: Tensor, start: int = 0) -> Tensor:
        """Return (k, 3, h, w) edited images.

        Args:
            keep: (k, 1, h, w) bool.
            start: Number of the first row.
        """
        if self._perturbed is None:
            return self.image.expand(len(keep), -1, -1, -1)
        return self._perturbed.rows(keep.to(self.image), start)

    @torch.no_grad()
    def logits(self, keep: Tensor, batches: Batches) -> Tensor:
        """Return (n, classes) float32 logits, on the CPU.

        Args:
            keep: (n, 1, h, w) bool.
            batches: Cuts the rows into pieces.
        """

        def classify(start: int, stop: int) -> Tensor:
            logits: Tensor = self.classifier(self.images(keep[start:stop], start))
            return logits.cpu()

        return torch.cat(list(batches(len(keep), classify)))
