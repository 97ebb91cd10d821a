"""The perturbed images that a classifier is asked about, with its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.infillers.base import Infiller
from fido.infillers.perturbed_image import EditedImage
from fido.masks.distributions.base import MaskDistribution, sample_masks
from fido.records import Sample


@dataclass(frozen=True, eq=False)
class PerturbedSamples:
    """One photo under the same masks for several infillers.

    Attributes:
        id: The photo's.
        label: Name of the class whose probability is told, the photo's label or, without one, what
            the classifier sees in it.
        image: (3, h, w) the photo.
        probability: p(label) of the photo.
        images: Infiller to (k, 3, h, w) perturbed images.
        probabilities: Infiller to (k,) p(label).
        seen: Infiller to the names of the k classes that come first.
    """

    id: str
    label: str
    image: Tensor
    probability: float
    images: Mapping[str, Tensor]
    probabilities: Mapping[str, Tensor]
    seen: Mapping[str, list[str]]


@torch.no_grad()
def perturbed_samples(
    sample: Sample,
    distribution: tuple[str, MaskDistribution],
    infillers: Mapping[str, Infiller],
    classifier: Classifier,
    count: int = 5,
    seed: int = 0,
) -> PerturbedSamples | None:
    """Fill one photo under several masks, with every infiller; None if there is no such mask.

    Args:
        sample: The photo.
        distribution: Name and mask distribution.
        infillers: Name to infiller; all get the same masks.
        classifier: Is asked about the images.
        count: Masks.
        seed: Of masks and infillers.
    """
    masks = sample_masks(dict([distribution]), sample, count, seed)
    if not masks:
        return None
    (keep,) = masks.values()
    photo = classifier.probabilities(sample.image.unsqueeze(0).to(classifier.device))[0]
    target = int(photo.argmax()) if sample.label is None else sample.label
    images, probabilities, seen = {}, {}, {}
    for name, infiller in infillers.items():
        filled = EditedImage(classifier, infiller, sample, "samples", seed).images(keep)
        answers = classifier.probabilities(filled)
        images[name] = filled.cpu()
        probabilities[name] = answers[:, target].cpu()
        seen[name] = [classifier.class_names[i] for i in answers.argmax(1).tolist()]
    name = classifier.class_names[target]
    return PerturbedSamples(
        sample.id, name, sample.image, float(photo[target]), images, probabilities, seen
    )
