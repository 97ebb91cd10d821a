"""Images on which one row of a table is ahead of another one, and behind it, the most."""

from __future__ import annotations

import pandas as pd


def extremes(
    scores: pd.DataFrame, metric: str, column: str, first: str, second: str, count: int
) -> tuple[list[str], list[str]]:
    """Ids of the `count` images with the largest and with the smallest `first - second`.

    Args:
        scores: What `scores_long.csv` holds: columns metric, row, id, column, value.
        metric: Name of the metric, "sensitivity" say.
        column: One of its columns, "ssim" say.
        first: A row of its table.
        second: Another row.
        count: How many of each; no image is in both lists.

    Returns:
        Ids, the largest difference first; ids, the smallest difference first.

    Raises:
        ValueError: If the scores hold no such numbers, or too few images have both.

    Source: Agarwal and Nguyen 2020, Figs. 8, S1, S4, S5 and S8 to S16.
    """
    chosen = scores[(scores["metric"] == metric) & (scores["column"] == column)]
    if chosen.empty:
        there = ", ".join(sorted(set(scores["metric"] + "." + scores["column"])))
        raise ValueError(f"no scores of {metric}.{column}; there are {there}")
    table = chosen.pivot_table(index="id", columns="row", values="value", aggfunc="mean")
    missing = [row for row in (first, second) if row not in table]
    if missing:
        rows = ", ".join(map(repr, table.columns))
        raise ValueError(f"{missing[0]!r} is no row of {metric}; there are {rows}")
    lead = (table[first] - table[second]).dropna().sort_index()
    if len(lead) < 2 * count:
        raise ValueError(
            f"{len(lead)} images have {column} in both rows; {count} best and {count} worst need "
            f"{2 * count}"
        )
    order = lead.sort_values(ascending=False, kind="stable").index.astype(str)
    return list(order[:count]), list(order[::-1][:count])
