"""What a network returns, and what its numbers mean: logits or probabilities, of what kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

OUTPUTS = ("auto", "softmax", "sigmoid")
Given = Literal["logits", "softmax", "sigmoid"]
"""What the numbers are: logits, or probabilities that a softmax or a sigmoid has made."""

LOGIT_KEYS = ("logits", "out", "output", "outputs", "prediction", "pred")
"""Names in dictionaries of outputs, the first of them that is there."""

HIDDEN_BY = (
    *("View", "Reshape", "UnsafeView", "Squeeze", "Unsqueeze", "ToCopy", "Slice", "Clone"),
    *("Cat", "Stack", "Select", "Index", "Permute", "Transpose", "T", "Expand"),
)
"""Nodes of the graph that change no value."""


@dataclass(frozen=True)
class Meaning:
    """What the columns of an output are.

    Attributes:
        given: See `Given`.
        columns: Number of outputs.
        doubtful: Whether logits lie in [0, 1] as probabilities do.
    """

    given: Given
    columns: int
    doubtful: bool = False


def unwrap_logits(output: Any, rows: int | None = None) -> Tensor:
    """Return the logits from a network's output.

    Args:
        output: A tensor; or an object with `.logits`, a mapping, or a sequence (first entry).
        rows: Images that were given; where known, squeezed outputs (n,) are taken as (n, 1).

    Raises:
        ValueError: If there is no (n, classes) tensor of numbers where one is expected.
    """
    if isinstance(output, Mapping):
        key = next((name for name in LOGIT_KEYS if name in output), next(iter(output), None))
        output = output[key] if key is not None else None
    elif hasattr(output, "logits"):
        output = output.logits
    elif isinstance(output, tuple | list):
        output = output[0] if output else None
    if isinstance(output, Tensor):
        if output.ndim > 2 and output.shape[2:].numel() == 1:
            output = output.flatten(1)
        if rows is not None and output.ndim < 2 and output.numel() % rows == 0:
            output = output.reshape(rows, -1)
    if not isinstance(output, Tensor) or output.ndim != 2 or output.shape[1] == 0:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        advice = (
            "; for a network of maps (segmentation, detection) return one number a class"
            if isinstance(output, Tensor) and output.ndim > 2
            else ""
        )
        raise ValueError(f"the classifier must return logits (n, classes), got {got}{advice}")
    if not output.is_floating_point():
        raise ValueError(
            f"the classifier must return logits (n, classes) as floating-point numbers, got "
            f"{output.dtype}: return the numbers that the argmax is taken of"
        )
    return output


def meaning_of(output: Tensor) -> Meaning:
    """Tell from an output to several different images whether they are probabilities already.

    Rows within [0, 1] that all add up to 1 are a softmax's. A sigmoid's are known by the graph,
    whose last operation it is: logits may lie in [0, 1] by chance.

    Args:
        output: (n, classes), with its graph if there is one.

    Raises:
        ValueError: If they are percentages.
    """
    values = output.detach().float()
    columns = output.shape[1]
    if columns > 1 and bool((values >= 0).all() & ((values.sum(1) - 100).abs() < 0.1).all()):
        if len(values) > 1:
            raise ValueError(
                "the network's outputs add up to 100 for every image: percentages are no logits; "
                "divide them by 100, or return what goes into the softmax"
            )
        return Meaning("logits", columns, True)  # one image may do so by chance
    if not bool(((values >= 0) & (values <= 1)).all()):
        return Meaning("logits", columns)
    if columns > 1 and bool(((values.sum(1) - 1).abs() < 1e-3).all()):
        return Meaning("softmax", columns)
    known = _last_operations(output.grad_fn) == {"Sigmoid"}
    return Meaning("sigmoid" if known else "logits", columns, not known)


def as_logits(output: Tensor, given: Given) -> Tensor:
    """Float32 logits of which the softmax or sigmoid is what was given.

    Args:
        output: (n, classes).
        given: What it is. Probabilities are clamped to what float32 can tell from 0 and 1.
    """
    values = output.float()
    if given == "softmax":
        return values.clamp(min=torch.finfo(torch.float32).tiny).log()
    if given == "sigmoid":
        values = values.clamp(1e-7, 1 - 1e-7)
        return values.log() - torch.log1p(-values)
    return values


def _last_operations(node: Any, depth: int = 8) -> set[str]:
    """Names of the operations that made the values of a node of the graph: "Sigmoid", "Addmm"."""
    if node is None or depth == 0:
        return {""}
    name = type(node).__name__.partition("Backward")[0]
    if name not in HIDDEN_BY:
        return {name}
    parts = [_last_operations(before, depth - 1) for before, _ in node.next_functions]
    return set().union(*parts) if parts else {""}
