"""Tables of what one setting changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fido.evaluation.contrasts import Contrast
from fido.report.tables import interval
from fido.runtime.files import atomic_path, write_text
from fido.runtime.names import file_name

ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}


def write_contrasts(folder: Path, key: str, found: Sequence[Contrast], level: float) -> Path:
    """Write `contrasts/<key>.md` and `.csv`; the first has a row a pair of runs.

    Args:
        folder: Of the evaluation.
        key: The setting.
        found: See `fido.evaluation.contrasts.contrasts`.
        level: Of the intervals, for the note.

    Returns:
        The Markdown file.
    """
    stem = folder / "contrasts" / file_name(key)
    write_text(stem.with_name(f"{stem.name}.md"), _markdown(key, found, level))
    lines = [
        {
            "setting": key,
            "rest": one.rest,
            "before": one.before,
            "after": one.after,
            "metric": one.metric,
            "column": one.column.name,
            "first": one.first.mean,
            "n": one.difference.n,
            "difference": one.difference.mean,
            "low": one.difference.low,
            "high": one.difference.high,
        }
        for one in found
    ]
    with atomic_path(stem.with_name(f"{stem.name}.csv")) as temporary:
        pd.DataFrame(lines).to_csv(temporary, index=False, lineterminator="\n")
    return stem.with_name(f"{stem.name}.md")


def _markdown(key: str, found: Sequence[Contrast], level: float) -> str:
    text = [f"## {key}\n"]
    for metric in dict.fromkeys(one.metric for one in found):
        of_metric = [one for one in found if one.metric == metric]
        columns = list(dict.fromkeys(one.column for one in of_metric))
        rows = list(dict.fromkeys((one.rest, one.before, one.after) for one in of_metric))
        head = ["runs", "from", "to", "n", *(c.title + ARROWS[c.better] for c in columns)]
        lines = [head, ["---"] * 3 + ["---:"] * (len(head) - 3)]
        for rest, before, after in rows:
            cells = {
                one.column: one
                for one in of_metric
                if (one.rest, one.before, one.after) == (rest, before, after)
            }
            n = max(one.difference.n for one in cells.values())
            line = [rest or "all", before, after, str(n)]
            for column in columns:
                difference = cells[column].difference
                cell = interval(difference, column, sign=True)
                line.append(cell if difference.n in (0, n) else f"{cell} (n {difference.n})")
            lines.append(line)
        text += [f"### {metric}\n"]
        text += ["| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines]
        text += [""]
    text += [
        "Each cell is the mean of the second run minus the first over the images that both have, "
        f"paired image by image, with its bootstrap {level:.0%} interval.\n"
    ]
    return "\n".join(text)
