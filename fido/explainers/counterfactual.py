"""What all methods share that change a photo until the classifier takes it for another class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.diffusion.frame import Problem
from fido.diffusion.regions.base import NoRegionError, Region
from fido.diffusion.sampling_state import measured
from fido.diffusion.trajectory import to_8_bits
from fido.explainers.base import Progress, SampleBatch, collate, half_of_maximum
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches

COSTS = ("forward", "backward", "infill", "denoise", "denoise_backward")
"""Networks that rows go through; the rounded image goes through the classifier once more."""


@dataclass(eq=False)
class Found:
    """Counterfactuals of b photos, before they are rounded.

    Attributes:
        image: (b, 3, h, w) in [0, 1].
        history: Curves (b, steps) with at least the names of `sampling_state.measured`.
        failure: (b) why an image failed, or None.
        cost: (b) rows of each image through each network.
        estimates: (b, k, 3, h', w') uint8 images on the way.
    """

    image: Tensor
    history: dict[str, Tensor]
    failure: list[str | None]
    cost: list[Counter[str]]
    estimates: Tensor | None = None


class CounterfactualExplainer(ABC):
    """Changes photos until the classifier takes them for their target class.

    The counterfactual is rounded to 8 bits before anything is said of it. Its map is the absolute
    change, the mean over colours in [0, 1], with half of the maximum as threshold. Every curve of
    the history ends with the rounded image: `flipped` says whether the classifier takes it for the
    target, `p_target` and `p_source` how sure it is, `distance` how far it is from the photo. An
    image that does not flip is kept.

    There is no explanation of a photo that the classifier takes for the target already, or that
    has no region.

    Args:
        classifier: What is explained.
        region: Pixels that may change.
        seed: Of the run.
        progress: Told of every step; see `Progress`.
        rows_per_pass: Images a pass; see `Batches`.
    """

    needs_gradient = True

    def __init__(
        self,
        classifier: Classifier,
        region: Region,
        seed: int = 0,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        if not classifier.output.exclusive:
            raise ValueError(
                "counterfactual images turn one class into another, and the labels of this "
                "classifier do not exclude each other (classifier.output=sigmoid); a network of "
                "one output has two classes where both are named: classifier.class_names=[no,yes]"
            )
        self.classifier = classifier
        self.region = region
        self.seed = seed
        self.progress = progress
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`."""
        batch = collate(samples, self.classifier)
        results: dict[int, Explanation] = {}
        problem, whole = self._problem(samples, batch, results)

        def work(start: int, stop: int) -> tuple[range, list[Explanation]]:
            part = problem.part(range(start, stop))
            return range(start, stop), self._explanations(part, self.search(part))

        for piece, explained in self.batches(len(whole), work):
            results.update(zip((whole[i] for i in piece), explained, strict=True))
        return [results[index] for index in range(len(samples))]

    @abstractmethod
    def search(self, problem: Problem) -> Found:
        """Counterfactuals of a batch; the outside of the region is the photo bit for bit."""

    def _problem(
        self, samples: Sequence[Sample], batch: SampleBatch, results: dict[int, Explanation]
    ) -> tuple[Problem, list[int]]:
        """What can be searched, and its places among the samples; the others get their reasons."""
        source = self.classifier.probabilities(batch.image).argmax(1)
        regions, places = [], []
        for index, sample in enumerate(samples):
            try:
                if int(source[index]) == int(batch.target[index]):
                    name = self.classifier.class_names[int(source[index])]
                    raise NoRegionError(
                        f"the classifier takes this photo for {name} already; a counterfactual "
                        "needs another class: target=second, a class name or a class index"
                    )
                regions.append(self.region.of(sample, self.seed))
                places.append(index)
            except NoRegionError as error:
                results[index] = _nothing(sample, int(batch.target[index]), str(error))
        chosen = torch.tensor(places, dtype=torch.long, device=batch.image.device)
        size = batch.size
        region = torch.stack(regions) if regions else torch.zeros(0, 1, *size, dtype=torch.bool)
        problem = Problem(
            ids=[batch.ids[place] for place in places],
            image=batch.image[chosen],
            target=batch.target[chosen],
            source=source[chosen],
            region=region.to(batch.image.device),
            seed=self.seed,
        )
        return problem, places

    def _explanations(self, problem: Problem, found: Found) -> list[Explanation]:
        counterfactual = to_8_bits(found.image)
        rounded = counterfactual.float() / 255
        # Outside of the region the photo may hold values that are no multiples of 1 / 255.
        last = measured(self.classifier.probabilities(rounded), rounded, problem)
        change = (counterfactual.float() - to_8_bits(problem.image).float()).abs() / 255
        saliency = change.mean(1, keepdim=True).cpu()
        last["distance"] = change.mean((1, 2, 3))
        return [
            Explanation(
                id=problem.ids[i],
                target=int(problem.target[i]),
                saliency=saliency[i],
                threshold=half_of_maximum(saliency[i]),
                counterfactual=counterfactual[i].cpu(),
                estimates=None if found.estimates is None else found.estimates[i].cpu(),
                history=_ended(found.history, last, i),
                cost={name: found.cost[i][name] + (name == "forward") for name in COSTS},
                failure=found.failure[i],
            )
            for i in range(len(problem))
        ]

    def flipped(self, problem: Problem, image: Tensor) -> Tensor:
        """(b,) bool on the CPU: whether images, rounded, are taken for their targets."""
        rounded = to_8_bits(image).float() / 255
        return (self.classifier.probabilities(rounded).argmax(1) == problem.target).cpu()

    def tell(self, problem: Problem, done: int, total: int, values: dict[str, Tensor]) -> None:
        """Report progress, if anybody listens."""
        if self.progress is not None:
            self.progress(problem.ids, done, total, values)


def _ended(curves: dict[str, Tensor], last: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    """The curves of one image, with the values of the rounded image at the end."""
    ended = {}
    for name, curve in curves.items():
        value = last[name][index].view(1).cpu().float() if name in last else torch.zeros(1)
        ended[name] = torch.cat([curve[index].float().cpu(), value])
    return ended


def _nothing(sample: Sample, target: int, reason: str) -> Explanation:
    return Explanation(
        id=sample.id,
        target=target,
        saliency=torch.zeros(1, *sample.image.shape[-2:]),
        cost=dict.fromkeys(COSTS, 0),
        failure=reason,
    )
