"""A masking network that was trained beforehand: one pass per image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from fido import weights as shipped
from fido.classifiers.base import Classifier
from fido.classifiers.encoder import FeatureEncoder
from fido.explainers.base import Progress, collate
from fido.networks.masking_unet import MaskingUNet
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches


class MaskingNetworkExplainer:
    """Return the mask that a `MaskingUNet` predicts for the class, upsampled; threshold 0.5.

    It uses no infiller and not the classifier: the network was trained against its own encoder, so
    that for another classifier the map still shows where the encoder sees the class.

    Args:
        classifier: The classifier to explain; it must have the encoder's classes, in their order.
        encoder: The frozen classifier that the network was trained on.
        network: The masking network that the weights belong to.
        weights: "realtime" for shipped weights, or the path of a `.safetensors` file, as
            `fido train model=masking_network` writes it.
        progress: Called after every batch; see `Progress`.
        rows_per_pass: Images per pass; see `Batches`.

    Raises:
        FileNotFoundError: If no weights are given, or the file is not there.
        ValueError: If weights are damaged or do not fit, or the encoder is of another kind.

    Source: Dabkowski & Gal 2017.
    """

    def __init__(
        self,
        classifier: Classifier,
        encoder: Classifier,
        network: MaskingUNet,
        weights: str | Path | None = None,
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        if weights is None:
            raise FileNotFoundError(
                "explainer=realtime needs a trained masking network. Train one with "
                "`fido train model=masking_network data=folder data.path=FOLDER` "
                "(docs/models/realtime.md) and give "
                "explainer.weights=outputs/train/masking_network/ema.safetensors"
            )
        shipped.load(network, weights)
        device = classifier.device
        self.classifier = classifier
        self.network = network.requires_grad_(False).eval().to(device)
        self.encoder = FeatureEncoder(encoder, len(network.steps)).to(device)
        self.progress = progress
        self.batches = Batches(rows_per_pass, device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; images side by side.

        Raises:
            ValueError: If the classifier has another number of classes than the encoder.
        """
        own, other = (len(c.class_names) for c in (self.encoder.classifier, self.classifier))
        if own != other:
            raise ValueError(
                f"the masking network knows the encoder's {own} classes, the classifier has "
                f"{other}; train one for it, see docs/models/realtime.md"
            )
        parts = self.batches(len(samples), lambda start, stop: self._explain(samples[start:stop]))
        return [explanation for part in parts for explanation in part]

    @torch.no_grad()
    def _explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        batch = collate(samples, self.classifier)
        encoded = self.encoder(batch.image)
        activation = self.encoder.activation(encoded.deep, batch.target)
        keep = self.network(encoded.features, encoded.deep, activation)
        saliency = F.interpolate(keep, batch.size, mode="bilinear", align_corners=False)
        if self.progress is not None:
            self.progress(batch.ids, 1, 1, {"area": saliency.flatten(1).mean(1)})
        return [
            Explanation(
                id=sample.id,
                target=int(target),
                saliency=values,
                cost={"forward": 1, "backward": 0, "infill": 0},
            )
            for sample, target, values in zip(samples, batch.target, saliency.cpu(), strict=True)
        ]
