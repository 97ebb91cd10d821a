"""Rows of `benchmarks/speed.py` for the methods that only ask for probabilities.

Each is timed against as many bare forward passes as it asks for, LIME also against the `lime`
package with the same superpixels and number of samples. MP2-G has no fixed number of passes; what
it needed is counted instead.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
import torch

from fido.classifiers.base import Classifier
from fido.explainers.lime import Lime
from fido.explainers.mp2 import Mp2
from fido.explainers.rise import Rise
from fido.explainers.sliding_patch import SlidingPatch
from fido.infillers.base import Infiller
from fido.infillers.mean import MeanInfiller
from fido.records import Sample

Row = tuple[str, Callable[[], object], str, int]
BATCH = 8
STRIDE = 20  # px between patches: 100 of them at 224, enough to time


def method_rows(classifier: Classifier, sample: Sample, passes: int = 100) -> Iterator[Row]:
    """Name, what to run, the name of the row that it is divided by, and forward passes.

    Args:
        classifier: What is explained.
        sample: The image.
        passes: Forward passes that a method may ask for, about; 4,000 is usual.
    """
    gray = MeanInfiller()
    floor = f"floor: {passes} bare forwards"
    yield floor, _forwards(classifier, sample, passes), floor, passes

    patches = SlidingPatch(classifier, gray, stride=STRIDE, rows_per_pass=BATCH)
    asked = patches.explain([sample])[0].cost["forward"]
    of_patches = f"floor: {asked} bare forwards"
    if asked != passes:
        yield of_patches, _forwards(classifier, sample, asked), of_patches, asked
    yield f"sliding_patch, {asked} forwards", lambda: patches.explain([sample]), of_patches, asked

    rise = Rise(classifier, gray, masks=passes, rows_per_pass=BATCH)
    yield f"rise, {passes} masks", lambda: rise.explain([sample]), floor, passes

    lime = Lime(classifier, gray, samples=passes, rows_per_pass=BATCH)
    name = f"lime, {passes} samples"
    yield name, lambda: lime.explain([sample]), floor, passes
    if importlib.util.find_spec("lime") is not None:
        package = _lime_package(classifier, sample, lime, passes)
        yield "the lime package, the same", package, name, passes


def mp2_calls(classifier: Classifier, sample: Sample, infiller: Infiller) -> dict[str, int]:
    """Rows that MP2 asked of the classifier and the infiller until the class was at chance."""
    return Mp2(classifier, infiller).explain([sample])[0].cost


def _forwards(classifier: Classifier, sample: Sample, count: int) -> Callable[[], object]:
    rows = sample.image.expand(BATCH, -1, -1, -1).contiguous()

    @torch.no_grad()
    def run() -> None:
        for start in range(0, count, BATCH):
            classifier.probabilities(rows[: count - start])

    return run


def _lime_package(
    classifier: Classifier, sample: Sample, ours: Lime, count: int
) -> Callable[[], object]:
    from lime.lime_image import LimeImageExplainer

    pixels = (sample.image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()

    @torch.no_grad()
    def predict(images: list[np.ndarray]) -> np.ndarray:
        rows = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        answer: np.ndarray = classifier.probabilities(rows).numpy()
        return answer

    return lambda: LimeImageExplainer().explain_instance(
        pixels,
        predict,
        top_labels=1,
        hide_color=127,
        num_samples=count,
        batch_size=BATCH,
        segmentation_fn=lambda _: ours.segment(sample.image).numpy(),
    )
