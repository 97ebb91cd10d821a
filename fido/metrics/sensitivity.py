"""Does a method give one map, or another one for every setting?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor

from fido.metrics.base import Column, ImageMetric, mean_defined
from fido.metrics.functional.map_similarity import Map, hog_correlation, scaled, spearman, ssim
from fido.metrics.score_set import ImageScore, ScoreSet
from fido.metrics.subjects import MapGroups


class Sensitivity(ImageMetric):
    """Similarity of the maps of one image under changed settings: the mean over all pairs.

    The maps come from two or more runs that differ in one setting (patch size, seed, grid). A
    method whose maps are similar is insensitive to the setting. Beside the means stands the spread
    over the pairs of an image ("ssim_std", ...).

    Args:
        normalise: "max_abs" divides every map by its largest magnitude, so that maps of any unit
            lie in [-1, 1]; "none" compares raw maps.
        data_range: Of SSIM: 2 for maps in [-1, 1], 1 for maps in [0, 1].

    Source: Bansal et al. 2020 (SAM); Agarwal and Nguyen 2020, section 4.4 and Fig. 6.
    """

    higher_is_better = True
    revision = 2  # variances over pairs are recorded
    subject = MapGroups()
    recorded = ("ssim", "hog", "spearman", "ssim_var", "hog_var", "spearman_var")
    columns = (
        Column("ssim", "SSIM", "higher"),
        Column("hog", "correlation of HOG", "higher"),
        Column("spearman", "Spearman", "higher"),
    )
    set_columns = tuple(
        Column(f"{name}_std", f"standard deviation of {name} over the pairs of an image")
        for name in ("ssim", "hog", "spearman")
    )

    def __init__(
        self, normalise: Literal["max_abs", "none"] = "max_abs", data_range: float = 2.0
    ) -> None:
        super().__init__()
        self.normalise: Literal["max_abs", "none"] = normalise
        self.data_range = data_range

    def score(self, image_id: str, maps: Sequence[Tensor]) -> ImageScore:
        """See `ImageMetric.score`.

        Raises:
            ValueError: If there are fewer than two maps.
        """
        if len(maps) < 2:
            raise ValueError(f"{image_id}: sensitivity compares two or more maps, got {len(maps)}")
        pairs = list(itertools.combinations([scaled(one, self.normalise) for one in maps], 2))
        measures: dict[str, Callable[[Map, Map], float]] = {
            "ssim": lambda a, b: ssim(a, b, self.data_range),
            "hog": hog_correlation,
            "spearman": spearman,
        }
        values = {n: [measure(a, b) for a, b in pairs] for n, measure in measures.items()}
        means = {name: math.fsum(found) / len(found) for name, found in values.items()}
        variances = {
            f"{name}_var": math.fsum((one - means[name]) ** 2 for one in found) / len(found)
            for name, found in values.items()
        }
        return ImageScore({**means, **variances})

    def set_values(self, scores: ScoreSet) -> dict[str, float]:
        """The spread of a measure over the pairs of an image: root of the images' mean variance.

        Source: Bansal et al. 2020, their code; the "±" of Agarwal and Nguyen 2020, Tables S1, S2.
        """
        deviations = {}
        for column in self.set_columns:
            mean = mean_defined(scores.value(column.name.replace("_std", "_var")))
            if not math.isnan(mean):
                deviations[column.name] = math.sqrt(mean)
        return deviations
