"""The pixels that an earlier counterfactual changed may change."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fido.diffusion.regions.base import NoRegionError, Region
from fido.diffusion.regions.earlier import EarlierResults, Results
from fido.records import Sample


class ChangedRegion(Region):
    """Where a stored counterfactual differs from its photo in any colour.

    Args:
        store: Opens the folder of a run that made counterfactuals of the same images.
        folder: Of the run.
        at_least: Difference in grey levels of 255 from which a pixel counts.
        target: See `EarlierResults`.
        seed: See `EarlierResults`.
        arm: See `Region`.

    Raises:
        FileNotFoundError: See `EarlierResults`.
        ValueError: If the difference is out of range.
    """

    def __init__(
        self,
        store: Callable[[str], Results],
        folder: str,
        at_least: int = 16,
        target: int | None = None,
        seed: int | None = None,
        arm: str = "inside",
    ) -> None:
        super().__init__(arm)
        if not 1 <= at_least <= 255:
            raise ValueError(f"explainer.region.at_least must be 1 to 255, got {at_least}")
        self.at_least = at_least
        self.results = EarlierResults(store, folder, target, seed)

    def inside(self, sample: Sample) -> Tensor:
        """See `Region.inside`."""
        counterfactual = self.results.of(sample).counterfactual
        if counterfactual is None:
            raise NoRegionError(f"{self.results.folder} has no counterfactual of this image")
        photo = (255 * sample.image).round()
        return ((counterfactual.float() - photo).abs() >= self.at_least).any(0, keepdim=True)
