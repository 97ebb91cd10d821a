"""Training of the masking network, on the predictions of a classifier instead of labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fido.classifiers.base import Classifier
from fido.classifiers.encoder import Encoded, FeatureEncoder
from fido.classifiers.folding import fold_batch_norms
from fido.infillers.base import Infiller
from fido.masks.concrete import composite
from fido.networks.masking_unet import MaskingUNet
from fido.runtime.noise import ImageNoise, image_seed
from fido.training.averaged import AveragedTraining
from fido.training.data import BatchLoader
from fido.training.mask_loss import MaskerLoss, lead

OPTIMISATION = {
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
    "betas": (0.9, 0.999),
    "warmup": 100,
    "ema_decay": 0.998,
}


class MaskingNetworkTraining(AveragedTraining):
    """Train a `MaskingUNet` to predict the region that carries the evidence for a class.

    The classes are the classifier's predictions, and for a share of the images another one at
    random, so that the network learns empty masks for classes that an image does not show. The
    random numbers of a step depend on (seed, step) alone: an interrupted training goes on exactly.

    Args:
        network: To be trained.
        classifier: Frozen; its batch normalisations are folded. The network gets its features, the
            loss its logits.
        batches: From a step to its (n, 3, h, w) images in [0, 1].
        validation_images: (n, 3, h, w) in [0, 1], never trained on.
        references: Infillers, of which each step uses one at random. They get a wholly dropped
            image, so that their infill does not depend on the mask.
        loss: The four terms.
        fake_share: Share of images with a class that the classifier does not predict.
        seed: Seed of classes and references.
        **optimisation: See `AveragedTraining`; by default learning_rate 1e-3, weight_decay 1e-4,
            betas (0.9, 0.999), warmup 100 and ema_decay 0.998.

    Raises:
        ValueError: If a number is out of range or there is no reference.

    Source: Dabkowski & Gal 2017.
    """

    network: MaskingUNet
    ema: MaskingUNet
    frozen = ("encoder", "references")

    def __init__(
        self,
        network: MaskingUNet,
        classifier: Classifier,
        batches: Callable[[int], Tensor],
        validation_images: Tensor,
        references: Sequence[Infiller],
        loss: MaskerLoss,
        fake_share: float = 0.3,
        seed: int = 0,
        **optimisation: Any,
    ) -> None:
        super().__init__(network, **{**OPTIMISATION, **optimisation})
        if not 0 <= fake_share < 1:
            raise ValueError(f"training.fake_share must lie in [0, 1), got {fake_share}")
        if not references:
            raise ValueError("training.references must name at least one infiller")
        self.encoder = FeatureEncoder(fold_batch_norms(classifier), len(network.steps))
        self.references = nn.ModuleList(references)
        self.batches = batches
        self.validation_images = validation_images
        self.loss = loss
        self.fake_share = fake_share
        self.seed = seed

    def train_dataloader(self) -> BatchLoader:
        """The batches that are left."""
        return BatchLoader(self.batches, self.global_step, self.steps)

    def training_step(self, image: Tensor, batch_idx: int) -> Tensor:
        """Loss of a batch of images."""
        terms = self.terms(image, str(self.global_step))
        for name, value in terms.items():
            self.log(f"train/{name}", value.detach(), batch_size=1)
        return terms["loss"]

    def terms(self, image: Tensor, purpose: str) -> dict[str, Tensor]:
        """Return the terms of the loss; random numbers depend on (seed, purpose) alone."""
        encoded = self.encoder(image)
        target, seen, real = self.classes(encoded.logits, purpose)
        keep = self.draw(self.network, encoded, target)
        kept, dropped = self.answers(image, keep, purpose)
        return self.loss(keep, kept, dropped, seen, real)

    def classes(self, logits: Tensor, purpose: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return (n,) classes of the masks, (n,) predicted ones, and where they agree."""
        n, classes = logits.shape
        generator = torch.Generator().manual_seed(image_seed(self.seed, purpose, "classes"))
        real = (torch.rand(n, generator=generator) >= self.fake_share).to(logits.device)
        away = torch.randint(1, classes, (n,), generator=generator).to(logits.device)
        seen = logits.argmax(1)
        return torch.where(real, seen, (seen + away) % classes), seen, real

    def draw(self, network: MaskingUNet, encoded: Encoded, target: Tensor) -> Tensor:
        """Return (n, 1, h / 4, w / 4) masks."""
        activation = self.encoder.activation(encoded.deep, target)
        keep: Tensor = network(encoded.features, encoded.deep, activation)
        return keep

    def answers(self, image: Tensor, keep: Tensor, purpose: str) -> tuple[Tensor, Tensor]:
        """Return (n, classes) logits of the region alone, and of the image without it."""
        generator = torch.Generator().manual_seed(image_seed(self.seed, purpose, "reference"))
        which = int(torch.randint(len(self.references), (), generator=generator))
        ids = [f"{purpose}/{row}" for row in range(len(image))]
        noise = ImageNoise(self.seed, ids, "reference", image.device)
        reference = cast(Infiller, self.references[which])
        fill = reference.infill(image, torch.zeros_like(image[:, :1]), noise)
        full = F.interpolate(keep, image.shape[-2:], mode="bilinear", align_corners=False).clamp(
            0, 1
        )
        rows = torch.cat([composite(image, full, fill), composite(image, 1 - full, fill)])
        kept, dropped = self.encoder.classifier(rows).chunk(2)
        return kept, dropped

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log area and leads in logits of the averaged weights."""
        for name, value in self.evaluate().items():
            self.log(f"val/{name}", value, batch_size=1)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return means over the validation images.

        Returns:
            "area" of the mask; "kept" and "dropped", the lead of the class over the best other one
            in the region alone and without it; "fake_area" for the least likely class.
        """
        sums = dict.fromkeys(("area", "kept", "dropped", "fake_area"), 0.0)
        for start in range(0, len(self.validation_images), 16):
            image = self.validation_images[start : start + 16].to(self.device)
            encoded = self.encoder(image)
            seen = encoded.logits.argmax(1)
            keep = self.draw(self.ema, encoded, seen)
            kept, dropped = self.answers(image, keep, f"validation {start}")
            unseen = self.draw(self.ema, encoded, encoded.logits.argmin(1))
            sums["area"] += float(keep.mean((1, 2, 3)).sum())
            sums["kept"] += float(lead(kept, seen).sum())
            sums["dropped"] += float(lead(dropped, seen).sum())
            sums["fake_area"] += float(unseen.mean((1, 2, 3)).sum())
        return {name: value / len(self.validation_images) for name, value in sums.items()}
