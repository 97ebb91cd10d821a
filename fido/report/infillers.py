"""What a measurement of infillers leaves beside the files of every evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from fido.classifiers.base import Classifier
from fido.evaluation.evaluation import Evaluation
from fido.evaluation.infills import fill_images, seconds_per_fill, seconds_per_gradient
from fido.masks.distributions.base import MaskDistribution, sample_masks
from fido.masks.distributions.bernoulli import BernoulliPixels
from fido.records import Sample
from fido.report.files import EvaluationResult
from fido.report.infill_figure import fills_figure
from fido.report.mask_tables import mask_tables, seconds_table
from fido.report.style import save_figure
from fido.runtime.files import write_text


def write_infillers(
    folder: Path,
    evaluation: Evaluation,
    evaluated: EvaluationResult,
    classifier: Classifier,
    mask_distributions: Mapping[str, MaskDistribution],
    ids: Sequence[str] | None = None,
    images: int = 6,
    rows: int = 8,
    seed: int = 0,
) -> dict[str, Path]:
    """Write `by_mask.md` and, for every mask distribution, `figures/infills_<mask>.png`.

    Args:
        folder: Where they go.
        evaluation: What was scored.
        evaluated: Its result.
        classifier: Gives the probabilities of the figures and the pass that fills are timed by.
        mask_distributions: Of the figures, by name.
        ids: Images of the figures; None takes `images` of them, evenly spaced.
        images: How many.
        rows: Masks that are filled at once when time is taken.
        seed: Of masks and infillers.

    Returns:
        Name of the figure to PNG.

    Raises:
        ValueError: If no image can be read.
    """
    samples = chosen_samples(evaluation, ids, images)
    infillers = evaluation.parts[0].compared.infillers
    image = samples[0].image.unsqueeze(0).to(classifier.device)
    keep = sample_masks({"timed": BernoulliPixels()}, samples[0], rows, seed)["timed"].to(image)
    seconds = {name: seconds_per_fill(one, image, keep) for name, one in infillers.items()}
    gradient = seconds_per_gradient(classifier, image.expand(rows, -1, -1, -1))
    times = seconds_table(seconds, rows, gradient)
    write_text(folder / "by_mask.md", "\n".join([mask_tables(evaluated.summaries), times]))
    figures = {}
    for distribution in mask_distributions.items():
        fills = fill_images(samples, distribution, infillers, classifier, seed)
        path = folder / "figures" / f"infills_{distribution[0]}.png"
        figures[path.stem] = save_figure(
            fills_figure(fills, f"infills, mask {distribution[0]}"), path, 130
        )
    return figures


def chosen_samples(evaluation: Evaluation, ids: Sequence[str] | None, images: int) -> list[Sample]:
    """The images of figures: those of these ids, or so many, evenly spaced.

    Raises:
        ValueError: If there is no such image, or none of them can be read.
    """
    known = evaluation.ids()
    if ids is None:
        places = torch.linspace(0, len(known) - 1, min(images, len(known))).round().long()
        ids = [known[place] for place in places.tolist()]
    elif not set(ids) <= set(known):
        raise ValueError(f"there is no image {', '.join(sorted(set(ids) - set(known)))}")
    samples = [sample for i in ids if (sample := evaluation.load(i)) is not None]
    if not samples:
        raise ValueError(f"none of the images for the figures can be read: {', '.join(ids)}")
    return samples
