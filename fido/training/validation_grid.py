"""A picture of validation infills while an infiller is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor

from fido.masks.concrete import composite
from fido.masks.distributions.base import MaskDistribution
from fido.runtime.files import atomic_path


class FillsValidationImages(Protocol):
    """The part of `InfillerTraining` that is drawn."""

    validation_images: Tensor
    validation_masks: dict[str, MaskDistribution]

    def masks(self, distribution: MaskDistribution, images: Tensor, purpose: str) -> Tensor:
        """(n, 1, h, w) keep masks."""
        ...

    def fill(self, image: Tensor, keep: Tensor) -> Tensor:
        """(n, 3, h, w) proposals."""
        ...


class ValidationGrid(pl.Callback):
    """Draw a grid after every validation: images, and for every mask kept pixels and infills.

    The picture is written to `<folder>/infills/<step>.png` and given to the loggers that take
    images, always with the same images and masks.

    Args:
        folder: The training's folder.
        images: Number of images, a column each.
        masks: Names of validation masks, two rows each.
    """

    def __init__(self, folder: Path | str, images: int, masks: list[str]) -> None:
        self.folder = Path(folder) / "infills"
        self.images = images
        self.masks = masks

    @torch.no_grad()
    def picture(self, module: FillsValidationImages, device: torch.device) -> np.ndarray:
        """(rows * h, images * w, 3) uint8.

        Raises:
            ValueError: If a name is not one of the module's.
        """
        unknown = sorted(set(self.masks) - set(module.validation_masks))
        if unknown:
            raise ValueError(
                f"grid.masks: no validation masks are called {', '.join(unknown)}; "
                f"there are {', '.join(module.validation_masks)}"
            )
        image = module.validation_images[: self.images].to(device)
        rows = [image]
        for name in self.masks:
            # All validation images at once, so that the masks are those that are scored.
            keep = module.masks(
                module.validation_masks[name], module.validation_images, f"validation {name}"
            )[: self.images].to(device)
            filled = module.fill(image, keep).clamp(0, 1)
            rows += [composite(image, keep, torch.full_like(image, 0.5))]
            rows += [composite(image, keep, filled)]
        # (rows, images, 3, h, w) -> (rows, h, images, w, 3)
        pixels = torch.stack(rows).mul(255).round().byte().permute(0, 3, 1, 4, 2)
        height, width = pixels.shape[0] * pixels.shape[1], pixels.shape[2] * pixels.shape[3]
        return pixels.reshape(height, width, 3).cpu().numpy()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write and log the picture."""
        picture = self.picture(pl_module, pl_module.device)  # type: ignore[arg-type]
        with atomic_path(self.folder / f"{trainer.global_step:07d}.png") as temporary:
            Image.fromarray(picture).save(temporary)
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image("infills", [picture], step=trainer.global_step)
