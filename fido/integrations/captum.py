"""Any explainer of this package as a captum `Attribution`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from captum.attr import Attribution
from captum.log import log_usage
from torch import Tensor

from fido.classifiers.base import Classifier
from fido.explainers.base import Explainer
from fido.integrations.inputs import known_classes, near_unit
from fido.records import Sample

SAMPLE_ID = "input"
"""All images have one id, and so the same random numbers: what `sensitivity_max` and `NoiseTunnel`
compare then differs by the images alone, and a map does not depend on its place in the batch."""


class FidoAttribution(Attribution):  # type: ignore[misc]  # captum has no types
    """Saliency maps for captum: passes through `NoiseTunnel`, `infidelity`, `sensitivity_max`.

        explainer = Rise(classifier, MeanInfiller(), masks=1000)
        attribution = FidoAttribution(explainer, classifier)
        maps = attribution.attribute(images, target=207)

    Inputs are pixels in [0, 1], as the classifier takes them; what noise has moved out of that
    range is clamped, normalised images are refused. What captum calls baselines is the
    explainer's infiller.

    Args:
        explainer: Any, on whatever classifier it was built for.
        classifier: That classifier; captum's `forward_func`.
        batch_size: Images given to the explainer at a time. No map depends on it.

    Raises:
        ValueError: If `batch_size` is below 1.
    """

    def __init__(self, explainer: Explainer, classifier: Classifier, batch_size: int = 8) -> None:
        super().__init__(classifier)
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        self.explainer = explainer
        self.classifier = classifier
        self.batch_size = batch_size

    # NoiseTunnel calls `attribute.__wrapped__`, which captum's decorator leaves.
    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: int | Sequence[int] | Tensor | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """Maps as large as the inputs.

        Args:
            inputs: (n, 3, h, w) in [0, 1], or a tuple of just that.
            target: A class index, or one an image; None is the classifier's first choice.

        Returns:
            (n, 3, h, w), each of the three channels the same map, or a tuple of just that.

        Raises:
            ValueError: If inputs or targets have another shape or range, or an image has no usable
                map.
        """
        (image,) = inputs if isinstance(inputs, tuple) else (inputs,)
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"inputs must be (n, 3, h, w), got {tuple(image.shape)}")
        pixels = near_unit(image.detach().float())
        samples = [
            Sample(SAMPLE_ID, row, target=chosen)
            for row, chosen in zip(pixels, self._targets(pixels, target), strict=True)
        ]
        maps = torch.stack(self._saliency(samples)).to(image)
        # Contiguous, because sensitivity_max views the maps as vectors.
        attribution = maps.expand_as(image).contiguous()
        return (attribution,) if isinstance(inputs, tuple) else attribution

    def has_convergence_delta(self) -> bool:
        """No: nothing that maps in general would have to add up to."""
        return False

    @property
    def multiplies_by_inputs(self) -> bool:
        """No: a map is not multiplied by the image."""
        return False

    def _targets(self, image: Tensor, target: int | Sequence[int] | Tensor | None) -> list[int]:
        if target is None:
            return [int(index) for index in self.classifier.probabilities(image).argmax(1)]
        chosen = torch.as_tensor(target).flatten()
        if len(chosen) == 1:
            chosen = chosen.expand(len(image))
        if len(chosen) != len(image):
            raise ValueError(f"{len(chosen)} targets for {len(image)} images")
        return known_classes(chosen.tolist(), self.classifier)

    def _saliency(self, samples: Sequence[Sample]) -> list[Tensor]:
        maps = []
        for start in range(0, len(samples), self.batch_size):
            # Captum's metrics call from inside no_grad, where masks could not be learned.
            with torch.enable_grad():
                found = self.explainer.explain(samples[start : start + self.batch_size])
            for explanation in found:
                if explanation.failure is not None:
                    raise ValueError(f"the explainer found no map: {explanation.failure}")
                maps.append(explanation.saliency)
        return maps
