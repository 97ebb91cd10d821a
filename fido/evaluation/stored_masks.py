"""The masks that an explainer ended with, as a distribution to measure infillers under."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from fido.masks.concrete import cells_of
from fido.masks.distributions.base import photo_of
from fido.records import Sample
from fido.runs.store import ResultsStore


class StoredMasks:
    """Draws from the final keep probabilities of a store's explanations, as the run drew.

    A `fido.masks.distributions.base.MaskDistribution`. Photos that the store does not explain have
    no mask; of several explanations of a photo the first counts. SSR often ends with most of the
    image dropped: what an infiller makes of such masks is what FIDO optimised against. Whole cells
    are drawn where the run's `mask.unit` is "cell", pixels otherwise.

    Args:
        folder: Of a run that left probabilities (FIDO); its maps must stay as they are, for scores
            are found again by the folder's name.

    Raises:
        FileNotFoundError: If the folder holds no explanations.

    Source: Agarwal and Nguyen 2020, section 4.1, whose criticism of FIDO-CA this measures.
    """

    def __init__(self, folder: str) -> None:
        if not any(Path(folder).glob("explanations/*.safetensors")):
            raise FileNotFoundError(f"mask distributions: {folder} holds no explanations")
        self.store = ResultsStore(folder)
        self._keys = self.store.by_image()
        self.mask: dict[str, Any] = self.store.settings().get("explainer", {}).get("mask", {})

    def sample(
        self, n: int, size: tuple[int, int], generator: Generator, photo: Sample | None = None
    ) -> Tensor | None:
        """See `MaskDistribution.sample`; None for photos without an explanation.

        Raises:
            ValueError: If the explanation has no probabilities or is of other pixels.
        """
        sample = photo_of(photo, "a store")
        keys = self._keys.get(sample.id, [])
        if not keys:
            return None
        keep_prob = self.store.load(keys[0]).keep_prob
        if keep_prob is None or tuple(keep_prob.shape[-2:]) != size:
            found = "none" if keep_prob is None else f"of {tuple(keep_prob.shape[-2:])} pixels"
            raise ValueError(
                f"{self.store.folder}: {sample.id} needs keep probabilities of {size} pixels, "
                f"found {found}; give a run of FIDO on these photos"
            )
        explained = self.store.sample(keys[0]).image
        if not torch.equal((255 * explained).round(), (255 * sample.image).round()):
            raise ValueError(
                f"{self.store.folder}: {sample.id} was explained with other pixels than those that "
                "are filled here; give the run's data settings, data.resize above all"
            )
        if self.mask.get("unit") != "cell":
            return torch.rand((n, 1, *size), generator=generator) < keep_prob
        cells = self._cells(keep_prob)
        kept = torch.rand((n, *cells.shape), generator=generator) < cells
        return functional.interpolate(kept.float(), size, mode="nearest-exact") > 0.5

    def _cells(self, keep_prob: Tensor) -> Tensor:
        """(1, gh, gw) probabilities of the cells that the run's map was made of."""
        grid = self.mask["grid"]
        grid = (grid, grid) if isinstance(grid, int) else tuple(grid)
        corners = self.mask["align_corners"]
        if self.mask["final_map"] == "probability":
            return cells_of(keep_prob, grid, corners)
        return cells_of(torch.logit(keep_prob.double(), 1e-12), grid, corners).sigmoid()
