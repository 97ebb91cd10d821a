"""What a reader should know before trusting a map: convergence and extremes, in sentences."""

from __future__ import annotations

import torch
from torch import Tensor

from fido.records import Explanation, RegionEdit
from fido.report.about import RunAbout

UNDECIDED = (0.3, 0.7)
"""A cell whose keep probability lies between is undecided."""

TOO_MANY = 0.8
"""Share of undecided cells from which a map counts as not converged. At the default it is 0.43 in
the middle of 101 photos and above 0.8 on 4 of them; with 5 steps it is 1."""

UNCHANGED = 0.01
"""Differences of probabilities below it are none."""


def undecided_share(explanation: Explanation, grid: int | None = None) -> float | None:
    """Share of a mask's cells that are neither kept nor dropped; None for maps without a mask.

    Args:
        explanation: The result.
        grid: Cells a side, which are read at their centres; None takes every pixel.
    """
    keep = explanation.keep_prob
    if keep is None or not explanation.history:
        return None
    values = keep[0] if grid is None else _centres(keep[0], grid)
    low, high = UNDECIDED
    return float(((values > low) & (values < high)).float().mean())


def remarks(
    explanation: Explanation, edit: RegionEdit | None, about: RunAbout | None = None
) -> list[str]:
    """Sentences about one result; none where nothing is conspicuous but its share of cells.

    Args:
        explanation: The result.
        edit: The photo edited by its region, where there is one.
        about: Of the run.
    """
    about = about or RunAbout()
    undecided = undecided_share(explanation, about.grid)
    calm = undecided is not None and undecided <= TOO_MANY
    found = [_undecided(undecided)] if calm and undecided is not None else []
    found += doubts(explanation, edit, about)
    unchanged = about.regions and edit is not None and _unchanged(explanation, edit)
    if unchanged == (False, True) and 0 < _area(explanation) < 1:
        found.append("removing the region does not change p(class)")
    return found


def doubts(
    explanation: Explanation, edit: RegionEdit | None, about: RunAbout | None = None
) -> list[str]:
    """Of the `remarks`, those that are a reason not to trust the map."""
    about = about or RunAbout()
    found = []
    undecided = undecided_share(explanation, about.grid)
    if undecided is not None and undecided > TOO_MANY:
        steps = len(next(iter(explanation.history.values())))
        found.append(f"not converged: {steps} steps are too few, {_undecided(undecided)}")
    if not about.regions:
        return found
    area = _area(explanation)
    if area == 0:
        found.append(f"the region is empty: no pixel exceeds the threshold{_try(about, 'lower')}")
    elif area == 1:
        found.append(f"the region is the whole photo: it says nothing{_try(about, 'higher')}")
    elif edit is not None and _unchanged(explanation, edit) == (True, True):
        found.append("p(class) is the same with only the region as without it: it says nothing")
    return found


def _undecided(share: float) -> str:
    return f"{share:.0%} of the cells undecided (keep probability 0.3 to 0.7)"


def _area(explanation: Explanation) -> float:
    return float(explanation.region.float().mean())


def _unchanged(explanation: Explanation, edit: RegionEdit) -> tuple[bool, bool]:
    """Whether p(class) is the photo's with only the region kept, and with the region infilled."""
    p, kept, removed = (float(row[explanation.target]) for row in edit.probabilities)
    return abs(p - kept) < UNCHANGED, abs(p - removed) < UNCHANGED


def _try(about: RunAbout, change: str) -> str:
    """What to change, of methods whose sparsity is a number."""
    sparsity = (about.settings or {}).get("explainer.objective.sparsity")
    return f"; try a {change} objective.sparsity" if isinstance(sparsity, int | float) else ""


def _centres(values: Tensor, grid: int) -> Tensor:
    """(grid, grid) values at the middle of each cell."""
    rows, columns = (
        ((torch.arange(grid) + 0.5) * length / grid).long().clamp(max=length - 1)
        for length in values.shape
    )
    return values[rows][:, columns]
