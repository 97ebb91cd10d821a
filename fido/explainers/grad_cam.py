"""Grad-CAM: the last feature maps of a network, weighted by their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import Tensor, nn

from fido.classifiers.base import Classifier
from fido.classifiers.layers import FeatureLayer, feature_layer
from fido.explainers.attribution import Score, scored
from fido.explainers.base import Progress, collate, half_of_maximum
from fido.records import Explanation, Sample
from fido.runtime.batching import Batches


class GradCam:
    """`relu(sum_k A_k * mean over places of d score / d A_k)`, bilinearly upsampled.

    It uses no infiller. Unless the layer is named, one more forward pass of the first image finds
    it, which is not counted in any image's cost.

    Args:
        classifier: The classifier to explain: a convolutional network, or a transformer whose
            tokens are patches; a class token is left out of the map.
        layer: Dotted name of a module of `classifier.network`, or an index into its layers of
            feature maps; None takes the last that the logits follow from; see
            `fido.classifiers.layers.feature_layer`.
        score: The score to differentiate; see `fido.explainers.attribution.scored`.
        progress: Called after every batch; see `Progress`.
        rows_per_pass: Images per pass; see `Batches`.

    Raises:
        ValueError: If a choice does not exist, the network has no module of the given name, or, on
            the first image, it has no feature maps.

    Source: Selvaraju et al. 2017, eq. 1 and 2; computed by captum.
    """

    needs_gradient = True

    def __init__(
        self,
        classifier: Classifier,
        layer: str | int | None = None,
        score: Score = "logit",
        progress: Progress | None = None,
        rows_per_pass: int | None = None,
    ) -> None:
        self.classifier = classifier
        if isinstance(layer, str):
            _check_name(classifier.network, layer)
        self.wanted = layer
        self.layer: FeatureLayer | None = None
        self.forward = scored(classifier, score)
        self.progress = progress
        self.batches = Batches(rows_per_pass, classifier.device)

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; images side by side."""
        parts = self.batches(len(samples), lambda start, stop: self._explain(samples[start:stop]))
        return [explanation for part in parts for explanation in part]

    def _explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        batch = collate(samples, self.classifier)
        if self.layer is None:
            self.layer = feature_layer(self.classifier, batch.image[:1], self.wanted)
        weighted = self._weighted(self.layer, batch.image, batch.target)
        # Feature maps are bfloat16 under autocast; maps never are.
        coarse = weighted.detach().float()
        saliency = LayerAttribution.interpolate(coarse, batch.size, "bilinear").cpu()
        if self.progress is not None:
            self.progress(batch.ids, 1, 1, {"saliency": saliency.flatten(1).amax(1)})
        return [
            Explanation(
                id=sample.id,
                target=int(target),
                saliency=values,
                threshold=half_of_maximum(values),
                cost={"forward": 1, "backward": 1, "infill": 0},
            )
            for sample, target, values in zip(samples, batch.target, saliency, strict=True)
        ]

    def _weighted(self, layer: FeatureLayer, image: Tensor, target: Tensor) -> Tensor:
        """(n, 1, h', w'), before it is upsampled."""
        image = image.requires_grad_()  # so that in-place activations may follow the layer
        if layer.layout.kind == "maps":
            weighted: Tensor = LayerGradCam(self.forward, layer.module).attribute(
                image, additional_forward_args=target, relu_attributions=True
            )
            return weighted
        outputs: list[Tensor] = []
        handle = layer.module.register_forward_hook(lambda *given: outputs.append(given[2]))
        try:
            score = self.forward(image, target)
        finally:
            handle.remove()
        (gradient,) = torch.autograd.grad(score.sum(), outputs[-1])
        maps, slope = (layer.layout.maps(one) for one in (outputs[-1], gradient))
        return (maps * slope.mean((2, 3), keepdim=True)).sum(1, keepdim=True).relu()


def _check_name(network: nn.Module, name: str) -> None:
    if not name or name not in dict(network.named_modules()):
        raise ValueError(
            f"explainer.layer: {type(network).__name__} has no module {name!r}; "
            f"its parts are {', '.join(child for child, _ in network.named_children())}"
        )
