"""The masks that an explainer ended with, as a law to measure infillers under."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn import functional

from fido.records import Sample
from fido.store import ResultsStore


class StoredMasks:
    """Draws from the final keep probabilities of a store's explanations, pixel by pixel.

    A law of masks (`fido.measures.mask_laws.MaskLaw`). Photos that the store does not explain have
    no mask. SSR often ends with more than 90 % dropped: what an infiller makes of such masks is
    what FIDO optimised against.

    Args:
        folder: Of a run that left probabilities (FIDO); its maps must stay as they are, for scores
            are found again by the folder's name.
        grid: Cells a side that are kept or dropped together (`mask.draw=cell`, with the run's
            grid), or None for pixels (`mask.draw=pixel`).

    Raises:
        FileNotFoundError: If the folder holds no explanations.
        ValueError: If `grid` is below 1.

    Source: Agarwal and Nguyen 2020, section 4.1, whose criticism of FIDO-CA this measures.
    """

    def __init__(self, folder: str, grid: int | None = None) -> None:
        if not any(Path(folder).glob("explanations/*.safetensors")):
            raise FileNotFoundError(f"laws of masks: {folder} holds no explanations")
        if grid is not None and grid < 1:
            raise ValueError(f"a grid has 1 or more cells a side, got {grid}")
        self.store = ResultsStore(folder)
        self.grid = grid

    def draw(self, sample: Sample, n: int, generator: Generator) -> Tensor | None:
        """(n, 1, h, w) bool, True keeps; None for photos without an explanation.

        Raises:
            ValueError: If the explanation has no probabilities or is of another size.
        """
        if sample.id not in self.store:
            return None
        keep_prob = self.store.load(sample.id).keep_prob
        size = (int(sample.image.shape[-2]), int(sample.image.shape[-1]))
        if keep_prob is None or tuple(keep_prob.shape[-2:]) != size:
            found = "none" if keep_prob is None else f"of {tuple(keep_prob.shape[-2:])} pixels"
            raise ValueError(
                f"{self.store.folder}: {sample.id} needs keep probabilities of {size} pixels, "
                f"found {found}; give a run of FIDO on these photos"
            )
        if self.grid is None:
            return torch.rand((n, 1, *size), generator=generator) < keep_prob
        cells = functional.adaptive_avg_pool2d(keep_prob.unsqueeze(0), self.grid)
        kept = torch.rand((n, 1, self.grid, self.grid), generator=generator) < cells
        return functional.interpolate(kept.float(), size, mode="nearest-exact") > 0.5
