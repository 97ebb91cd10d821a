"""What has to hold of a classifier before its maps can mean anything, tried on one photo."""

from __future__ import annotations

import torch
from torch import Tensor

from fido.classifiers.base import Classifier

ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference of logits that rounding may make, as a share of the largest logit."""


def check_classifier(classifier: Classifier, image: Tensor, needs_gradient: bool = False) -> None:
    """Try the classifier on a photo: six passes, two of them with a gradient where one is needed.

    Args:
        classifier: What is to be explained.
        image: (3, h, w) in [0, 1].
        needs_gradient: Whether the method follows a gradient to the pixels.

    Raises:
        ValueError: One line for each thing that is wrong: what was found, what was expected, what
            to do.
    """
    photo = image.unsqueeze(0).to(classifier.device)
    with torch.no_grad():
        first, again = classifier(photo), classifier(photo)
        pair = classifier(torch.cat([photo, _other(photo)]))
    random = _repeats(classifier, first, again)
    found = [
        _outputs(classifier, first),
        _numbers(first),
        random,
        _batches(classifier, first, pair) if random is None else None,
        _gradient(classifier, photo) if needs_gradient else None,
    ]
    wrong = [line for line in found if line is not None]
    if wrong:
        raise ValueError("the classifier cannot be explained.\n" + "\n".join(wrong))


def _outputs(classifier: Classifier, logits: Tensor) -> str | None:
    names, outputs = len(classifier.class_names), logits.shape[1]
    if names == outputs:
        return None
    return (
        f"outputs: found {outputs}, expected one for each of {names} class names; "
        "give classifier.class_names one name an output"
    )


def _numbers(logits: Tensor) -> str | None:
    if logits.isfinite().all():
        return None
    return (
        f"numbers: found {int((~logits.isfinite()).sum())} logits that are NaN or infinite, "
        "expected finite numbers; check weights, mean and std, and half precision"
    )


def _repeats(classifier: Classifier, first: Tensor, again: Tensor) -> str | None:
    difference = _difference(first, again)
    if difference <= _tolerance(classifier):
        return None
    return (
        f"repeats: found logits that differ by {difference:.0%} from one pass to the next, "
        "expected the same; take randomness out of the forward pass (dropout that does not ask "
        "for self.training, random crops)"
    )


def _batches(classifier: Classifier, alone: Tensor, pair: Tensor) -> str | None:
    if len(pair) != 2:
        return (
            f"batches: found {len(pair)} rows of logits for 2 images, expected 2; "
            "keep the first dimension in the forward pass"
        )
    difference = _difference(alone, pair[:1])
    if difference <= _tolerance(classifier):
        return None
    return (
        f"batches: found logits that differ by {difference:.0%} when another image is in the "
        "batch, expected the same; normalise over channels or pixels, not over the batch"
    )


def _gradient(classifier: Classifier, photo: Tensor) -> str | None:
    seen = "none"
    for image in (
        photo,
        _other(photo),
    ):  # of a photo alone it may vanish: black, or all units are off
        with torch.enable_grad():
            pixels = image.clone().requires_grad_()
            logits = classifier(pixels)
            if not logits.requires_grad:
                break
            score = classifier.output.log_odds(logits, logits.detach().argmax(1))
            (gradient,) = torch.autograd.grad(score.sum(), pixels, allow_unused=True)
        if gradient is None:
            break
        if gradient.isfinite().all() and bool((gradient != 0).any()):
            return None
        seen = "zero everywhere" if gradient.isfinite().all() else "NaN or infinite"
    return (
        f"gradient: found {seen}, expected one that reaches the pixels; take .detach(), no_grad, "
        "NumPy and rounding out of the forward pass, or a method that asks for none: "
        "explainer=rise, lime, occlusion"
    )


def _other(photo: Tensor) -> Tensor:
    """An image of the same shape and of other statistics: dark noise."""
    draws = torch.Generator().manual_seed(0)
    return torch.rand(photo.shape, generator=draws).mul(0.6).to(photo)


def _tolerance(classifier: Classifier) -> float:
    kind = torch.bfloat16 if classifier.precision == "bf16" else classifier.dtype
    return ROUNDING.get(kind, ROUNDING[torch.bfloat16])


def _difference(a: Tensor, b: Tensor) -> float:
    """Largest difference as a share of the largest value; 0 where numbers are not finite."""
    if not (a.isfinite().all() and b.isfinite().all()):
        return 0.0
    largest = torch.stack([a.abs().max(), b.abs().max()]).amax()
    return float((a - b).abs().max() / largest.clamp(min=1e-3))
