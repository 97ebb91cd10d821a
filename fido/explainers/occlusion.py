"""Occlusion: the drop of the score under a gray patch that slides over the image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from captum.attr import Occlusion as CaptumOcclusion
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.attribution import Score, scored
from fido.explainers.base import Progress, SampleBatch, collate, half_of_maximum
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches
from fido.runtime.checks import check_at_least


class Occlusion:
    """`score(x) - score(x with a gray patch)`, averaged over the patches that cover a pixel.

    It uses no infiller: the patch has the classifier's mean colour. `SlidingPatch` is the method
    that infills the patch; it differs from this one also in writing a patch's value at its centre.
    The map is signed; its threshold is half of its maximum.

    Args:
        classifier: The classifier to explain.
        patch: Side of the patch in pixels; the last one of a row or column may be cut off.
        stride: Pixels from one patch to the next, at most `patch`.
        score: The score whose drop is measured; see `fido.explainers.attribution.scored`.
        progress: Called after every batch; see `Progress`.
        rows_per_pass: Images per pass; see `Batches`.

    Raises:
        ValueError: If a number is out of range or a choice does not exist.

    Source: Zeiler & Fergus 2014, section 4.2; computed by captum.
    """

    def __init__(
        self,
        classifier: Classifier,
        patch: int = 29,
        stride: int = 8,
        score: Score = "probability",
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        check_at_least(1, "explainer", patch=patch)
        if not 1 <= stride <= patch:
            raise ValueError(f"explainer.stride must be 1 to patch = {patch} pixels, got {stride}")
        self.classifier = classifier
        self.patch = patch
        self.stride = stride
        self.forward = scored(classifier, score)
        self.progress = progress
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; one image after the other, its patches in batches."""
        return [self._explain(collate([sample], self.classifier)) for sample in samples]

    @torch.no_grad()
    def _explain(self, batch: SampleBatch) -> Explanation:
        if self.patch > min(batch.size):
            raise ValueError(
                f"explainer.patch must fit into the image, got {self.patch} pixels for "
                f"{batch.size[0]} x {batch.size[1]}"
            )
        rows = 1 + math.prod(
            math.ceil((side - self.patch) / self.stride) + 1 for side in batch.size
        )

        def occlude(start: int, stop: int) -> Tensor:
            attribution: Tensor = CaptumOcclusion(_Counted(self, batch.ids, rows)).attribute(
                batch.image,
                sliding_window_shapes=(3, self.patch, self.patch),
                strides=(3, self.stride, self.stride),
                baselines=self.classifier.mean.expand_as(batch.image),
                additional_forward_args=batch.target,
                perturbations_per_eval=stop - start,
            )
            return attribution

        # Captum cuts the patches into pieces itself; `batches` only finds a size that fits.
        attribution = next(iter(self.batches(self.batches.size, occlude)))
        # A patch covers all colours, so that they have one value.
        saliency = attribution[0, :1].float().cpu()
        return Explanation(
            id=batch.ids[0],
            target=int(batch.target),
            saliency=saliency,
            threshold=half_of_maximum(saliency),
            cost={"forward": rows, "backward": 0, "infill": 0},
        )


class _Counted:
    """The score function; reports progress after every call."""

    def __init__(self, explainer: Occlusion, ids: Sequence[str], total: int) -> None:
        self.explainer = explainer
        self.ids = ids
        self.total = total
        self.done = 0

    def __call__(self, image: Tensor, target: Tensor) -> Tensor:
        score = self.explainer.forward(image, target)
        self.done += len(image)
        if self.explainer.progress is not None:
            self.explainer.progress(
                self.ids, self.done, self.total, {"score": score.mean().view(1)}
            )
        return score
