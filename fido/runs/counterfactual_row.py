"""What a run says of a counterfactual image in its table."""

from __future__ import annotations

import torch

from fido.classifiers.base import Classifier
from fido.records import Explanation, Sample
from fido.runs.result_file import Row

COUNTERFACTUAL = ("p_counterfactual", "flipped", "l1")
"""Numbers of a counterfactual image that a run averages."""


@torch.no_grad()
def counterfactual_row(classifier: Classifier, sample: Sample, explanation: Explanation) -> Row:
    """The classifier's answer to the image as it is stored, and how far it is from the photo.

    Both are rounded to 8 bits, so that the numbers are those of the stored files.

    Returns:
        "p_counterfactual", the target's probability; "predicted_counterfactual", the most probable
        class; "flipped", 1 if that is the target; "l1", the mean absolute change of a value in
        [0, 1]. Nothing for an explanation without a counterfactual.
    """
    image = explanation.counterfactual
    if image is None:
        return {}
    probability = classifier.probabilities(image.unsqueeze(0).to(classifier.device) / 255)[0].cpu()
    predicted = int(probability.argmax())
    change = image.double() - (sample.image.double() * 255).round()
    return {
        "p_counterfactual": float(probability[explanation.target]),
        "predicted_counterfactual": predicted,
        "flipped": int(predicted == explanation.target),
        "l1": float(change.abs().mean() / 255),
    }
