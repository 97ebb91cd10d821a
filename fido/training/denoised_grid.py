"""A picture of denoised validation images while a denoiser is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image

from fido.runtime.files import atomic_path
from fido.training.diffusion import DiffusionTraining


class DenoisedGrid(pl.Callback):
    """After every validation: images above, and for every noise level the noisy above the denoised.

    The picture is written to `<folder>/denoised/<step>.png` and given to the loggers that take
    images, always with the same images and noise.

    Args:
        folder: The training's folder.
        images: Number of images, a column each.
    """

    def __init__(self, folder: Path | str, images: int) -> None:
        self.folder = Path(folder) / "denoised"
        self.images = images

    def picture(self, module: DiffusionTraining) -> np.ndarray:
        """(rows * h, images * w, 3) uint8."""
        images, classes = module.validation_images
        rows = [images[: self.images]]
        for level in module.levels:
            rows.append((module.noisy(level)[: self.images] / 2 + 0.5).clamp(0, 1))
            rows.append(module.denoise(level, classes[: self.images]).clamp(0, 1))
        # (rows, images, 3, h, w) -> (rows, h, images, w, 3)
        pixels = torch.stack(rows).mul(255).round().byte().permute(0, 3, 1, 4, 2)
        height, width = pixels.shape[0] * pixels.shape[1], pixels.shape[2] * pixels.shape[3]
        return pixels.reshape(height, width, 3).numpy()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes and logs the picture."""
        assert isinstance(pl_module, DiffusionTraining)
        picture = self.picture(pl_module)
        with atomic_path(self.folder / f"{trainer.global_step:07d}.png") as temporary:
            Image.fromarray(picture).save(temporary)
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image("denoised", [picture], step=trainer.global_step)
