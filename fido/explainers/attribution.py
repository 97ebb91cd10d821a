"""Shared by the gradient methods: the score they differentiate, and the reduction over colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor

from fido.classifiers.base import Classifier
from fido.runtime.checks import check_choice

Score = Literal["log_odds", "logit", "probability"]
Channels = Literal["sum", "sum_abs", "max_abs"]


def scored(classifier: Classifier, score: Score) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function from (n, 3, h, w) images and (n,) class indices to (n,) scores.

    Args:
        classifier: The classifier to explain.
        score: "log_odds" in nats; "logit" of the class; "probability", whose gradient vanishes for
            a confident classifier.

    Raises:
        ValueError: If there is no such score.
    """
    check_choice(get_args(Score), "explainer", score=score)

    def forward(image: Tensor, target: Tensor) -> Tensor:
        logits: Tensor = classifier(image)
        if score == "logit":
            return logits.gather(1, target.unsqueeze(1)).squeeze(1)
        rated = classifier.output
        return (rated.log_odds if score == "log_odds" else rated.probability)(logits, target)

    return forward


def check_channels(channels: Channels) -> None:
    """Check the name of a reduction over colours; see `over_channels`.

    Raises:
        ValueError: If it does not exist.
    """
    check_choice(get_args(Channels), "explainer", channels=channels)


def over_channels(attribution: Tensor, channels: Channels) -> Tensor:
    """Reduce (n, 3, h, w) attributions to (n, 1, h, w).

    Args:
        attribution: Signed values, one for every colour of a pixel.
        channels: "sum" keeps the sign, so that colours may cancel; "sum_abs" and "max_abs" give the
            strength of a pixel's influence, in either direction.
    """
    if channels == "sum":
        return attribution.sum(1, keepdim=True)
    if channels == "sum_abs":
        return attribution.abs().sum(1, keepdim=True)
    return attribution.abs().amax(1, keepdim=True)
