"""OpenAI's diffusion model of ImageNet at 256 pixels."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fido import weights as files
from fido.diffusion.denoisers.base import Denoiser
from fido.diffusion.schedule import nearest_steps, x0_from_noise
from fido.networks.guided_unet import GuidedUNet


class GuidedDiffusionDenoiser(Denoiser):
    """Denoises with a `GuidedUNet`; it knows no classes.

    The network also says where between its bounds the variance of a step back is.

    Args:
        network: Its weights are replaced.
        weights: `.safetensors` file that `scripts/convert_guided_diffusion.py` wrote.
        size: (h, w), multiples of the network's stride.
        lift: See `Denoiser`.

    Raises:
        FileNotFoundError: If no weights are given or they are not there.
        ValueError: If the size or the weights do not fit the network.

    Source: Dhariwal & Nichol 2021, the unconditional model of 256 pixels.
    """

    def __init__(
        self,
        network: GuidedUNet,
        weights: str | Path | None = None,
        size: tuple[int, int] = (256, 256),
        lift: str = "residual",
    ) -> None:
        super().__init__(size, lift=lift)
        if any(side % network.stride for side in self.size):
            raise ValueError(
                f"denoiser.size must be multiples of {network.stride} px for this network, "
                f"got {self.size}"
            )
        if weights is None:
            raise FileNotFoundError(
                "denoiser=guided_diffusion needs OpenAI's 256x256_diffusion_uncond.pt, which has "
                "to be downloaded (https://github.com/openai/guided-diffusion) and converted: "
                "python scripts/convert_guided_diffusion.py FILE OUT.safetensors; then give "
                "explainer.denoiser.weights=OUT.safetensors"
            )
        files.load(network, weights)
        self.network = network.eval().requires_grad_(False)

    def noise(
        self, x_t: Tensor, alpha_bar: Tensor | float, classes: Tensor | None = None
    ) -> Tensor:
        """See `Denoiser.noise`."""
        return self._output(x_t, alpha_bar)[0]

    def estimate(self, x_t: Tensor, alpha_bar: Tensor | float) -> tuple[Tensor, Tensor | None]:
        """See `Denoiser.estimate`."""
        noise, place = self._output(x_t, alpha_bar)
        return x0_from_noise(x_t, alpha_bar, noise), place

    def _output(self, x_t: Tensor, alpha_bar: Tensor | float) -> tuple[Tensor, Tensor]:
        """Noise and place of the variance; the nearest of the 1,000 steps is taken."""
        level = torch.as_tensor(alpha_bar, device=x_t.device).expand(len(x_t))
        noise, place = self.network(x_t, nearest_steps(level)).chunk(2, 1)
        return noise, place
