"""What a classifier says of many edits of one image, as metrics make them."""

from __future__ import annotations

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import PerturbedImage
from fido.records import Sample
from fido.runtime.batching import Batches


class EditedImage:
    """One image with pixels dropped and infilled by a metric's own infiller.

    Row r is the same whichever rows are asked for with it, and its random numbers are not those
    of an explainer with the same seed.

    Args:
        classifier: Whose logits are wanted.
        infiller: Fills the dropped pixels; None leaves the image as it is.
        sample: The image.
        purpose: Names the stream of the infiller's random numbers.
        seed: Of the infiller's random numbers.
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
        """(k, 3, h, w) edited images.

        Args:
            keep: (k, 1, h, w) bool.
            start: Number of the first row.
        """
        if self._perturbed is None:
            return self.image.expand(len(keep), -1, -1, -1)
        return self._perturbed.rows(keep.to(self.image), start)

    @torch.no_grad()
    def logits(self, keep: Tensor, batches: Batches) -> Tensor:
        """(n, classes) float32 on the CPU.

        Args:
            keep: (n, 1, h, w) bool.
            batches: Cuts the rows into pieces.
        """

        def look(start: int, stop: int) -> Tensor:
            logits: Tensor = self.classifier(self.images(keep[start:stop], start))
            return logits.cpu()

        return torch.cat(list(batches(len(keep), look)))
