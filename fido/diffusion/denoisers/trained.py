"""A trained network as a denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fido import weights as shipped
from fido.diffusion.denoisers.base import Denoiser
from fido.diffusion.denoisers.class_labels import class_indices
from fido.diffusion.schedule import noise_from_x0
from fido.networks.patched_unet import PatchedUNet


class TrainedDenoiser(Denoiser):
    """Denoises with a `PatchedUNet`.

    Args:
        network: Its weights are replaced.
        weights: Name of shipped weights, or path of a `.safetensors` file as trainings write it.
        size: (h, w) at which the network was trained; multiples of its stride.
        labels: What the classifier calls each of the network's classes, in their order: names,
            which `name_classes` looks up, or indices. Classes of other names are not known.
        lowest_alpha_bar: Least `alpha_bar` at which it was trained.
        lift: See `Denoiser`.

    Raises:
        ValueError: If the size or the number of labels does not fit the network, or the weights do
            not; see `fido.weights.load`.
        FileNotFoundError: If the weights are not there.
    """

    def __init__(
        self,
        network: PatchedUNet,
        weights: str | Path,
        size: tuple[int, int] = (64, 64),
        labels: Sequence[int | str] = (),
        lowest_alpha_bar: float = 0.05,
        lift: str = "residual",
    ) -> None:
        super().__init__(size, lowest_alpha_bar, lift)
        if any(side % network.stride for side in self.size):
            raise ValueError(
                f"denoiser.size must be multiples of {network.stride} px for this network, "
                f"got {self.size}"
            )
        if len(labels) != network.classes:
            raise ValueError(
                f"denoiser.labels must name {network.classes} classes, those of the network, "
                f"got {len(labels)}"
            )
        shipped.load(network, weights)
        self.network = network.eval().requires_grad_(False)
        self.class_labels = tuple(labels)
        self.register_buffer("labels", class_indices(labels, None))

    labels: Tensor

    def noise(
        self, x_t: Tensor, alpha_bar: Tensor | float, classes: Tensor | None = None
    ) -> Tensor:
        """See `Denoiser.noise`."""
        return noise_from_x0(x_t, alpha_bar, self.x0(x_t, alpha_bar, classes))

    def x0(self, x_t: Tensor, alpha_bar: Tensor | float, classes: Tensor | None = None) -> Tensor:
        """See `Denoiser.x0`; the network estimates this one."""
        n = len(x_t)
        level = torch.as_tensor(alpha_bar, dtype=x_t.dtype, device=x_t.device).expand(n)
        estimate: Tensor = self.network(x_t, level, self._indices(n, classes))
        return estimate

    def name_classes(self, names: Sequence[str]) -> None:
        """See `Denoiser.name_classes`."""
        self.labels = class_indices(self.class_labels, names).to(self.labels.device)

    def knows(self, classes: Tensor) -> Tensor:
        """See `Denoiser.knows`."""
        return torch.isin(classes, self.labels)

    def _indices(self, n: int, classes: Tensor | None) -> Tensor:
        """(n,) the network's class indices."""
        none = self.network.classes
        if classes is None or not none:
            return torch.full((n,), none, device=self.labels.device)
        same = classes.to(self.labels.device)[:, None] == self.labels
        return torch.where(same.any(1), same.int().argmax(1), none)
