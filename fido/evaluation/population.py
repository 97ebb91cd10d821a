"""Scores of a part of the results only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fido.evaluation.frame import Results, RowScores

FLIPPED = ("validity", "ta")
"""Metric and column that say whether a counterfactual reached its target."""


def only_flipped(results: Results) -> Results:
    """The scores of counterfactuals that reached their target.

    The metric that says so keeps all. Rows that it does not have stay as they are.

    Raises:
        ValueError: If it is not among the metrics.
    """
    metric, column = FLIPPED
    if metric not in results:
        raise ValueError(
            f"evaluation.only_flipped=true needs {metric} among the metrics: it says what flipped"
        )
    flipped = {
        row: {
            key
            for key, value in zip(
                _keys(content), content.metric.finalize(content.scores)[column], strict=True
            )
            if value == 1
        }
        for row, content in results[metric].items()
    }
    return {
        name: {
            row: _part(content, flipped[row]) if name != metric and row in flipped else content
            for row, content in rows.items()
        }
        for name, rows in results.items()
    }


def _keys(content: RowScores) -> list[tuple[str, int, int]]:
    targets, seeds = content.targets.tolist(), content.seeds.tolist()
    return list(zip(content.scores.ids, targets, seeds, strict=True))


def _part(content: RowScores, keys: set[tuple[str, int, int]]) -> RowScores:
    chosen: NDArray[np.bool_] = np.array([key in keys for key in _keys(content)], dtype=bool)
    return replace(
        content,
        scores=content.scores.part(chosen),
        targets=content.targets[chosen],
        seeds=content.seeds[chosen],
    )
