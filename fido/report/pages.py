"""Pages of the perturbed images of single photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fido.classifiers.base import Classifier
from fido.evaluation.evaluation import Evaluation
from fido.evaluation.perturbed_samples import perturbed_samples
from fido.masks.distributions.base import MaskDistribution
from fido.report.infillers import chosen_samples
from fido.report.sample_page import sample_page
from fido.report.style import save_figure
from fido.runtime.names import file_name


def write_pages(
    folder: Path,
    evaluation: Evaluation,
    classifier: Classifier,
    mask_distributions: Mapping[str, MaskDistribution],
    ids: Sequence[str] | None = None,
    images: int = 10,
    samples: int = 5,
    seed: int = 0,
) -> dict[str, Path]:
    """Write `pages/<mask>_<image>.png` for some photos, with the infillers of the evaluation.

    Args:
        folder: Where they go.
        evaluation: Of infillers, on photos.
        classifier: Is asked about the perturbed images.
        mask_distributions: Name to mask distribution.
        ids: Photos that get a page; None takes `images` of them, evenly spaced.
        images: How many.
        samples: Masks a page.
        seed: Of masks and infillers.

    Returns:
        Name of the page to PNG.

    Raises:
        ValueError: If no photo can be read.
    """
    infillers = evaluation.parts[0].compared.infillers
    pages = {}
    for sample in chosen_samples(evaluation, ids, images):
        for name, distribution in mask_distributions.items():
            found = perturbed_samples(
                sample, (name, distribution), infillers, classifier, samples, seed
            )
            if found is None:
                continue
            path = folder / "pages" / f"{name}_{file_name(sample.id)}.png"
            pages[f"pages/{path.stem}"] = save_figure(
                sample_page(found, f"{sample.id}: {name}"), path, 130
            )
    return pages
