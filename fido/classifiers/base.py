"""A wrapper for image classifiers: pixels in [0, 1] in, logits out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from fido import scores


class Classifier(nn.Module):
    """A frozen classifier: (n, 3, h, w) RGB in [0, 1] to (n, classes) float32 logits.

    Normalisation happens inside. The network is put into evaluation mode for good and its weights
    get no gradient; gradients with respect to the image pass.

    Args:
        network: Anything that maps a normalised batch to logits; outputs with `.logits`, mappings
            with "logits" and tuples (first entry) are unwrapped.
        size: (h, w) in pixels that the network was trained for.
        mean: Per-channel mean that is subtracted, in [0, 1] units.
        std: Per-channel standard deviation that is divided by.
        class_names: One name a class; None numbers them on the first use of the network's output.
        interpolation: "bilinear" or "bicubic", for resizing photos to `size`.
        crop_fraction: Share of the short side that the central crop keeps, in (0, 1].
        precision: "float32", or "bf16" for bfloat16 autocast inside the network.
        channels_last: Whether weights and images are laid out channels last, which is the faster
            layout for convolutions on CPUs and tensor cores.

    Raises:
        ValueError: If an argument is out of range.
    """

    mean: Tensor
    std: Tensor
    weights_sha256: str | None = None
    """Of the weights as they were read, where a command built it; folding changes them."""

    def __init__(
        self,
        network: nn.Module,
        size: int | tuple[int, int],
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        class_names: Sequence[str] | None = None,
        interpolation: str = "bilinear",
        crop_fraction: float = 0.875,
        precision: str = "float32",
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        if precision not in ("float32", "bf16"):
            raise ValueError(f"precision must be float32 or bf16, got {precision!r}")
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self.interpolation = interpolation
        self.crop_fraction = crop_fraction
        self.precision = precision
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.requires_grad_(False).to(memory_format=self.memory_format)
        place = next((t.device for t in (*network.parameters(), *network.buffers())), None)
        for name, values in (("mean", mean), ("std", std)):
            value = torch.tensor(values, dtype=torch.float32, device=place).view(1, 3, 1, 1)
            self.register_buffer(name, value)
        self.class_names = self._numbered() if class_names is None else _texts(class_names)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: batch statistics would make a score depend on its batch."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        """The device of the classifier, on which its images must be."""
        return self.mean.device

    def forward(self, image: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] -> (n, classes) float32 logits."""
        x = (image - self.mean) / self.std
        x = x.contiguous(memory_format=self.memory_format)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            output = self.network(x)
        return unwrap_logits(output).float()

    def log_odds(self, image: Tensor, target: Tensor) -> Tensor:
        """(n,) log-odds of the target classes in nats; see `fido.scores.log_odds`."""
        return scores.log_odds(self.forward(image), target)

    @torch.no_grad()
    def probabilities(self, image: Tensor) -> Tensor:
        """(n, classes) softmax probabilities, without gradient."""
        return self.forward(image).softmax(1)

    def _numbered(self) -> list[str]:
        with torch.no_grad():
            self.eval()
            classes = self(torch.zeros(1, 3, *self.size, device=self.device)).shape[1]
        return [f"class {index}" for index in range(classes)]


def _texts(names: Sequence[object]) -> list[str]:
    """Names as text: on a command line `[0,1]` holds numbers and `[false,true]` switches."""
    return [str(name).lower() if isinstance(name, bool) else str(name) for name in names]


def unwrap_logits(output: Any) -> Tensor:
    """Return the logits from a network's output.

    Raises:
        ValueError: If there is no (n, classes) tensor where one is expected.
    """
    if hasattr(output, "logits"):
        output = output.logits
    elif isinstance(output, Mapping):
        output = output["logits"] if "logits" in output else next(iter(output.values()))
    elif isinstance(output, tuple | list):
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim != 2:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"the classifier must return logits (n, classes), got {got}")
    return output


def load_state(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict; name the tensor that does not fit.

    Raises:
        ValueError: On the first missing, unexpected or misshapen tensor.
    """
    own = network.state_dict()
    for name, tensor in state.items():
        if name not in own:
            raise ValueError(f"{source}: tensor {name!r} has no place in the network")
        if own[name].shape != tensor.shape:
            raise ValueError(
                f"{source}: tensor {name!r} has shape {tuple(tensor.shape)}, "
                f"the network expects {tuple(own[name].shape)}"
            )
    missing = sorted(set(own) - set(state))
    if missing:
        raise ValueError(f"{source}: tensor {missing[0]!r} is missing ({len(missing)} in all)")
    network.load_state_dict(state)


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from `.safetensors`, or from a torch file without running code from it.

    A checkpoint that wraps its weights as {"state_dict": ...} is unwrapped.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read as tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every reader has its own exceptions; all mean the same here
        raise ValueError(f"cannot read weights from {path}: {error}") from error
    state = state.get("state_dict", state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path} does not hold a state dict (names to tensors)")
    return dict(state)
