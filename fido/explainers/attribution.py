"""What the gradient methods share: the number they differentiate, and one value a pixel of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor

from fido import scores
from fido.classifiers.base import Classifier
from fido.runtime.checks import check_choice

Score = Literal["log_odds", "logit", "probability"]
Channels = Literal["sum", "sum_abs", "max_abs"]


def scored(classifier: Classifier, score: Score) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of (n, 3, h, w) images and (n,) classes to (n,) numbers, one an image.

    Args:
        classifier: What is explained.
        score: "log_odds" in nats; "logit", the class's own; "probability", whose gradient vanishes
            for a classifier that is sure.

    Raises:
        ValueError: If there is no such score.
    """
    check_choice(get_args(Score), "explainer", score=score)

    def forward(image: Tensor, target: Tensor) -> Tensor:
        logits: Tensor = classifier(image)
        if score == "logit":
            return logits.gather(1, target.unsqueeze(1)).squeeze(1)
        return (scores.log_odds if score == "log_odds" else scores.probability)(logits, target)

    return forward


def check_channels(channels: Channels) -> None:
    """Raises:
    ValueError: If there is no such way to bring three colours to one value.
    """
    check_choice(get_args(Channels), "explainer", channels=channels)


def over_channels(attribution: Tensor, channels: Channels) -> Tensor:
    """(n, 3, h, w) -> (n, 1, h, w).

    Args:
        attribution: Signed, a value for every colour of a pixel.
        channels: "sum" keeps the sign, so that colours may cancel; "sum_abs" and "max_abs" say how
            strongly a pixel matters, in whichever direction.
    """
    if channels == "sum":
        return attribution.sum(1, keepdim=True)
    if channels == "sum_abs":
        return attribution.abs().sum(1, keepdim=True)
    return attribution.abs().amax(1, keepdim=True)
