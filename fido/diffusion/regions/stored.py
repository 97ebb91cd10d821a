"""The region that another method found may change."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fido.diffusion.regions.base import Region, strongest
from fido.diffusion.regions.earlier import EarlierResults, Results
from fido.records import Sample


class StoredRegion(Region):
    """The region of a stored explanation, FIDO's for instance.

    Args:
        store: Opens the folder of a run that explained the same images.
        folder: Of the run.
        area: Share of the image, in (0, 1), that the highest values of the map are to cover; None
            takes the explanation's own region, the map above its threshold.
        target: See `EarlierResults`.
        seed: See `EarlierResults`.
        arm: See `Region`.

    Raises:
        FileNotFoundError: See `EarlierResults`.
        ValueError: If the area is out of range.
    """

    def __init__(
        self,
        store: Callable[[str], Results],
        folder: str,
        area: float | None = None,
        target: int | None = None,
        seed: int | None = None,
        arm: str = "inside",
    ) -> None:
        super().__init__(arm)
        if area is not None and not 0 < area < 1:
            raise ValueError(f"explainer.region.area must be in (0, 1) or null, got {area}")
        self.area = area
        self.results = EarlierResults(store, folder, target, seed)

    def inside(self, sample: Sample) -> Tensor:
        """See `Region.inside`."""
        explanation = self.results.of(sample)
        if self.area is None:
            return explanation.region
        return strongest(explanation.saliency, self.area)
