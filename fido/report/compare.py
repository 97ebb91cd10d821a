"""The photos on which two methods differ most, in both directions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from fido.records import Key
from fido.report.about import about_run
from fido.report.contact_sheet import Cell, contact_sheet
from fido.report.style import save_figure
from fido.runs.result_file import Row
from fido.runs.store import ResultsStore

CAPTION = "area of its region; p(class) with only the region kept minus p(class) with it infilled"


@dataclass(frozen=True)
class Difference:
    """How far two results of one photo and class are apart.

    Attributes:
        first: Key in the first store.
        second: Key in the second store.
        scores: p(class) with the region kept minus p(class) without it, in both stores.
    """

    first: Key
    second: Key
    scores: tuple[float, float]

    @property
    def lead(self) -> float:
        """By how much the first is better."""
        return self.scores[0] - self.scores[1]


def differences(first: ResultsStore, second: ResultsStore) -> list[Difference]:
    """All photos that both stores explain for the same class, the first one's largest lead first.

    A result's score is p(class) with only its region kept minus p(class) with the region infilled:
    of the metric `region`, which infills both methods alike, or of the run's own infiller where the
    folder has no such scores.

    Raises:
        ValueError: If the stores have no result of the same photo and class.
    """
    scores = [_scores(store) for store in (first, second)]
    partner = {(key.image_id, key.target): key for key in scores[1]}
    found = [
        Difference(key, other, (score, scores[1][other]))
        for key, score in scores[0].items()
        if (other := partner.get((key.image_id, key.target))) is not None
    ]
    if not found:
        raise ValueError(
            f"{first.folder} and {second.folder} have no photo in common that both explain for the "
            "same class"
        )
    return sorted(found, key=lambda difference: (-difference.lead, difference.first))


def draw_differences(
    folder: Path,
    stores: tuple[ResultsStore, ResultsStore],
    names: tuple[str, str],
    count: int = 10,
    dpi: int = 100,
    found: Sequence[Difference] | None = None,
) -> list[Path]:
    """Draw `<name>_better.png` for each of the two, as far as it is better anywhere.

    Args:
        folder: Where the files go.
        stores: What is compared.
        names: Of the stores.
        count: Photos of a file.
        dpi: Pixels an inch.
        found: The stores' `differences`, where they are known already.

    Returns:
        The files.

    Raises:
        ValueError: See `differences`.
    """
    found = differences(*stores) if found is None else found
    sides = (found[:count], found[::-1][:count])
    paths = []
    for i, (name, side) in enumerate(zip(names, sides, strict=True)):
        better = [one for one in side if (one.lead > 0 if i == 0 else one.lead < 0)]
        if better:
            plain = re.sub(r"[^\w.-]+", "_", name)[:80]
            path = folder / f"{i + 1}_{plain}_better.png"
            paths.append(save_figure(_figure(stores, names, better), path, dpi))
    return paths


def _figure(
    stores: tuple[ResultsStore, ResultsStore], names: tuple[str, str], found: list[Difference]
) -> Figure:
    abouts = [about_run(store) for store in stores]
    classes = stores[0].class_names()
    cells, rows = {}, {}
    for difference in found:
        key = difference.first
        target = classes[key.target] if key.target < len(classes) else f"class {key.target}"
        rows[str(key)] = f"{key.image_id}\n{target}"
        for i, one in enumerate((difference.first, difference.second)):
            sample, explanation = stores[i].sample(one), stores[i].load(one)
            share = float(explanation.region.float().mean())
            area = f"area {share:.0%}" if abouts[i].regions else f"no region: top {share:.1%}"
            caption = f"{area}, kept - without {difference.scores[i]:.2f}"
            cells[str(key), names[i]] = Cell(
                sample.image, explanation, caption, abouts[i].regions, sample.boxes
            )
    return contact_sheet(cells, rows, names, CAPTION)


def _scores(store: ResultsStore) -> dict[Key, float]:
    """Key to score, of all results that have one."""
    rows = store.scores()
    found = {}
    for key in store:
        score = _score(rows.get(key, {}))
        if score is None and (edit := store.edit(key)) is not None:
            kept, removed = (float(row[key.target]) for row in edit.probabilities[1:])
            score = kept - removed
        if score is not None and math.isfinite(score):
            found[key] = score
    return found


def _score(row: Row) -> float | None:
    kept, removed = row.get("p_kept"), row.get("p_removed")
    return float(kept) - float(removed) if kept and removed else None
