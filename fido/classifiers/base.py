"""A wrapper for image classifiers: pixels in [0, 1] in, logits out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from fido import scores
from fido.classifiers.inputs import (
    LUMINANCE,
    as_texts,
    channels_of,
    number_a_channel,
    own_copy,
    tensors_of,
)
from fido.classifiers.outputs import OUTPUTS, Given, as_logits, meaning_of, unwrap_logits

log = logging.getLogger(__name__)

VIEW_ERROR = "view size is not compatible"
"""What PyTorch says of a `view` whose input is laid out channels last."""


class Classifier(nn.Module):
    """A frozen classifier: (n, 3, h, w) RGB in [0, 1] to (n, classes) float32 logits.

    Normalisation happens inside. The classifier holds a copy of the network, which is in
    evaluation mode for good and whose weights get no gradient; gradients with respect to the image
    pass. The network itself is left as it was. Images are cast to the type of its weights.

    One pass of a test image tells, when the network is wrapped, how many outputs there are and
    whether they are probabilities already, which are turned back into logits.

    Args:
        network: Anything that maps a normalised batch to logits; outputs with `.logits`, mappings
            with "logits" and tuples (first entry) are unwrapped.
        size: (h, w) in pixels that the network was trained for.
        mean: Per-channel mean that is subtracted, in [0, 1] units; one number for all channels.
        std: Per-channel standard deviation that is divided by; one number for all channels.
        class_names: One name a class; None numbers them. Two names for a network of one output:
            the output is the log-odds of the second against the first.
        interpolation: "bilinear" or "bicubic", for resizing photos to `size`.
        crop_fraction: Share of the short side that the central crop keeps, in (0, 1].
        precision: "float32", or "bf16" for bfloat16 autocast inside the network.
        channels_last: Whether weights and images are laid out channels last, which is the faster
            layout for convolutions on CPUs and tensor cores. A network that cannot be laid out so
            (a `view` in its forward pass) is laid out as usual, and the log says so.
        output: "softmax" for classes that exclude each other, "sigmoid" for labels that are
            independent (multi-label, or one output); "auto" is "softmax", and "sigmoid" for one
            output that has a name.
        channels: 3, or 1 for a network of grey images, which gets the luminance; "auto" asks the
            network's first convolution.

    Attributes:
        output: The scores of the outputs, `fido.scores.Softmax` or `fido.scores.Sigmoid`.
        given: "logits", or "softmax" or "sigmoid" where the network returns probabilities.

    Raises:
        ValueError: If an argument is out of range, or the network cannot be used; says why.
    """

    mean: Tensor
    std: Tensor
    weights_sha256: str | None = None
    """Of the weights as they were read, where a command built it; folding changes them."""

    differentiable: bool = True
    """Whether a score has a gradient with respect to the image."""

    def __init__(
        self,
        network: nn.Module,
        size: int | tuple[int, int],
        mean: float | Sequence[float] = (0.485, 0.456, 0.406),
        std: float | Sequence[float] = (0.229, 0.224, 0.225),
        class_names: Sequence[str] | None = None,
        interpolation: str = "bilinear",
        crop_fraction: float = 0.875,
        precision: str = "float32",
        channels_last: bool = True,
        output: str = "auto",
        channels: int | Literal["auto"] = "auto",
    ) -> None:
        super().__init__()
        if precision not in ("float32", "bf16"):
            raise ValueError(f"precision must be float32 or bf16, got {precision!r}")
        if output not in OUTPUTS:
            raise ValueError(f"classifier.output must be one of {', '.join(OUTPUTS)}, got {output}")
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self.interpolation = interpolation
        self.crop_fraction = crop_fraction
        self.precision = precision
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = own_copy(network).requires_grad_(False).to(memory_format=self.memory_format)
        self.channels = channels_of(self.network, channels)
        place = next((t.device for t in tensors_of(self.network)), None)
        for name, values in (("mean", mean), ("std", std)):
            value = torch.tensor(number_a_channel(name, values, self.channels), device=place)
            self.register_buffer(name, value.view(1, self.channels, 1, 1))
        self.eval()
        self.given: Given = "logits"
        self.output, self.class_names = self._recognised(output, class_names)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: batch statistics would make a score depend on its batch."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        """The device of the classifier, on which its images must be."""
        return self.mean.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the network's weights, to which its images are cast."""
        return next(
            (t.dtype for t in tensors_of(self.network) if t.is_floating_point()), torch.float
        )

    def forward(self, image: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] -> (n, classes) float32 logits."""
        logits = as_logits(self._outputs(image), self.given)
        if self.output.exclusive and logits.shape[1] == 1:  # the log-odds of the second class
            return torch.cat([torch.zeros_like(logits), logits], 1)
        return logits

    def log_odds(self, image: Tensor, target: Tensor) -> Tensor:
        """(n,) log-odds of the target classes in nats; see `fido.scores`."""
        return self.output.log_odds(self.forward(image), target)

    @torch.no_grad()
    def probabilities(self, image: Tensor) -> Tensor:
        """(n, classes) probabilities by the classifier's `output`, without gradient."""
        return self.output.probabilities(self.forward(image))

    def _outputs(self, image: Tensor) -> Tensor:
        """(n, columns), as the network gives them."""
        if self.channels == 1:
            share = torch.tensor(LUMINANCE, dtype=image.dtype, device=image.device)
            image = (image * share.view(1, 3, 1, 1)).sum(1, keepdim=True)
        x = ((image - self.mean) / self.std).to(self.dtype)
        x = x.contiguous(memory_format=self.memory_format)
        try:
            return unwrap_logits(self._passed(x), len(x))
        except RuntimeError as error:
            if VIEW_ERROR not in str(error) or self.memory_format != torch.channels_last:
                raise
        log.warning(
            "the network takes no images that are laid out channels last (a view in its forward "
            "pass); it is used in the usual layout, as with classifier.channels_last=false"
        )
        self.memory_format = torch.contiguous_format
        self.network.to(memory_format=self.memory_format)
        return unwrap_logits(self._passed(x.contiguous()), len(x))

    def _passed(self, x: Tensor) -> Any:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.network(x)

    def _recognised(
        self, output: str, class_names: Sequence[str] | None
    ) -> tuple[scores.Softmax, list[str]]:
        """The scores of the outputs and the names of the classes, from passes of test images."""
        seen = self._tried(1)
        meaning = meaning_of(seen)
        if meaning.given != "logits" or meaning.doubtful:  # by one image it may be chance
            meaning = meaning_of(self._tried(4))
        self.given = meaning.given
        names = None if class_names is None else as_texts(class_names)
        columns = meaning.columns
        two = columns == 1 and names is not None and len(names) == 2
        kind = output
        if output == "auto":
            independent = (columns == 1 and not two) or meaning.given == "sigmoid"
            kind = "sigmoid" if independent and not two else "softmax"
        if self.given != "logits":
            log.warning(
                "the network's outputs are probabilities already (of a %s); they are turned back "
                "into logits. Without its last layer the network is explained more exactly",
                self.given,
            )
        if meaning.doubtful:
            log.warning(
                "the network's outputs lie in [0, 1] for all test images and are taken as logits; "
                "if they are probabilities, take the last sigmoid or softmax off"
            )
        if output == "auto" and self.given == "logits" and columns == 1 and names is None:
            raise ValueError(
                "the network has one output, and nothing says what it is. If it is the log-odds of "
                "a label, give classifier.output=sigmoid, or its name, class_names=[yes], or both "
                "sides' names, class_names=[no,yes]; a network of one number of another kind "
                "(regression) has no class to explain"
            )
        if kind == "softmax" and columns == 1 and not two:
            raise ValueError(
                "classifier.output=softmax: the network has one output, whose softmax is always "
                "1; give classifier.output=sigmoid, or two names: class_names=[no,yes]"
            )
        chosen = scores.Softmax() if kind == "softmax" else scores.Sigmoid()
        classes = 2 if two and chosen.exclusive else columns
        if names is None:
            names = [f"class {index}" for index in range(classes)]
        if len(names) != classes:
            raise ValueError(
                f"classifier.class_names: {len(names)} names for a network of {classes} "
                f"{'classes' if chosen.exclusive else 'labels'}"
            )
        return chosen, names

    def _tried(self, images: int) -> Tensor:
        """(images, columns) with its graph, of fixed random images; errors are in words."""
        draws = torch.Generator().manual_seed(0)
        image = torch.rand(images, 3, *self.size, generator=draws).to(self.device)
        with torch.enable_grad():
            try:
                return self._outputs(image.requires_grad_())
            except ValueError:  # its own words, or ours
                raise
            except Exception as error:  # whatever the network raises
                raise ValueError(self._refusal(error)) from error

    def _refusal(self, error: Exception) -> str:
        """Why a network cannot be used, from what it raised."""
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        return (
            f"the network {type(self.network).__name__} cannot classify a batch of shape "
            f"(1, {self.channels}, {self.size[0]}, {self.size[1]}), {self.dtype}: {first}. "
            "Expected is a network of "
            f"{'RGB' if self.channels == 3 else 'grey'} images of classifier.size; see also "
            "classifier.channels=1|3"
        )
