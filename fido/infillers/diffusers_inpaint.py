"""Infill with an inpainting pipeline of the diffusers library."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fido.infillers.base import Infiller, keep_known, per_mask
from fido.infillers.resolution import check_options, infill_at_resolution
from fido.runtime.noise import ImageNoise

_UNSAFE = ("trust_remote_code", "custom_pipeline", "use_safetensors")


class DiffusersInfiller(Infiller):
    """Fill with a diffusion model: Stable Diffusion, SDXL, Kandinsky, FLUX, ... for inpainting.

    Weights are read from safetensors files only, and no code of a repository is run. The pipeline
    sees kept pixels only, the rest is blanked to mid-grey. A prompt that names the object makes
    the model paint the evidence back in, so that the default is empty.

    Args:
        weights: A folder with `model_index.json`, or a name on the Hugging Face hub.
        prompt: What to paint.
        steps: Denoising steps.
        guidance_scale: Weight of the prompt; 1 turns guidance, and half of the cost, off.
        resolution: Short side in pixels at which the pipeline works, a multiple of 8; None is the
            image's own size, extended to multiples of 8.
        rows_per_pass: Rows in one pass of the pipeline, or None for all at once.
        loading: More arguments of `from_pretrained`, e.g. `variant: fp16`.
        calling: More arguments of the pipeline, e.g. `strength: 1.0`.

    Raises:
        FileNotFoundError: If no model is named.
        ImportError: If diffusers is not installed.
        ValueError: If `loading` asks for running a repository's code or reading pickles.

    Source: Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models".
    """

    needs_noise = True

    def __init__(
        self,
        weights: str | Path | None = None,
        prompt: str = "",
        steps: int = 25,
        guidance_scale: float = 1.0,
        resolution: int | None = 512,
        rows_per_pass: int | None = 4,
        loading: Mapping[str, Any] | None = None,
        calling: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_options(resolution, rows_per_pass)
        if refused := [name for name in _UNSAFE if name in (loading or {})]:
            raise ValueError(
                f"infiller.loading must not set {', '.join(refused)}: only safetensors are read, "
                "and code of a model repository is not run"
            )
        if weights is None:
            raise FileNotFoundError(
                "the infiller diffusers needs a model, and infiller.weights is null. Set it to a "
                "folder with model_index.json and safetensors files, or to the name of an "
                "inpainting model on the Hugging Face hub"
            )
        self.arguments = {
            "num_inference_steps": steps,
            "guidance_scale": guidance_scale,
            **(calling or {}),
        }
        self.prompt = prompt
        self.resolution = resolution
        self.rows_per_pass = rows_per_pass
        self.pipeline = _load(weights, loading or {})

    @torch.no_grad()
    def infill(self, image: Tensor, keep: Tensor, noise: ImageNoise | None = None) -> Tensor:
        """See `Infiller.infill`; what a row receives does not depend on the other rows."""
        if noise is None:
            raise ValueError("the infiller diffusers draws random numbers: give it noise")
        repeats = self.repeats(image, keep)
        rows = per_mask(image, repeats)
        # A float32 number on [0, 1) has 24 random bits.
        seeds = noise.uniform(repeats, 1).mul(2**24).long().flatten().tolist()
        self.pipeline.to(image.device)
        chunk = self.rows_per_pass or len(keep)
        fills = [
            infill_at_resolution(
                partial(self._fill, seeds=seeds[start : start + chunk]),
                rows[start : start + chunk],
                keep[start : start + chunk],
                self.resolution,
            )
            for start in range(0, len(keep), chunk)
        ]
        return keep_known(torch.cat(fills), rows, keep)

    def _fill(self, image: Tensor, keep: Tensor, seeds: list[int]) -> Tensor:
        filled: Tensor = self.pipeline(
            prompt=[self.prompt] * len(image),
            image=image * keep + 0.5 * (1 - keep),
            mask_image=1 - keep,  # the pipeline says 1 = hole
            height=image.shape[-2],
            width=image.shape[-1],
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="pt",
            **self.arguments,
        ).images
        if filled.shape != image.shape:
            raise ValueError(
                f"the pipeline {type(self.pipeline).__name__} answered with images of shape "
                f"{tuple(filled.shape)}, expected {tuple(image.shape)}"
            )
        return filled.to(image.dtype).clamp(0, 1)


def _load(weights: str | Path, loading: Mapping[str, Any]) -> Any:
    try:
        # An import of seconds that nobody else should pay for.
        from diffusers import AutoPipelineForInpainting

        pipeline = AutoPipelineForInpainting.from_pretrained(
            str(weights), use_safetensors=True, **loading
        )
    except ImportError as error:  # also of what a pipeline's text encoder needs
        first = str(error).strip().partition("\n")[0]
        raise ImportError(
            f"the infiller diffusers needs a package: pip install 'fido-xai[diffusers]' ({first})"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
