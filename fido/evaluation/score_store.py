"""Scores on disk: one file a result, whole or not there, from which everything else is made."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fido.metrics.score_set import ImageScore
from fido.records import Key
from fido.runs.result_file import file_stem
from fido.runtime.files import DamagedFileError, read_json, set_aside, write_text

log = logging.getLogger(__name__)


class ScoreStore:
    """`<folder>/<result>.json`: what every metric measured for every row of one result.

    A score is kept with a digest of everything that it depends on. Whoever asks with another
    digest (another map, other settings) finds nothing, so a stale score is never used. Two
    processes may write into one folder as long as they work on different images.

    Args:
        folder: Where the files are; made on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, key: Key) -> StoredScores:
        """The scores of one result, empty if there are none yet.

        A file that cannot be read is set aside, so that what it held is scored again.
        """
        path = f"{self.folder}/{file_stem(key)}.json"  # a Path takes longer than all else here
        try:
            content = read_json(path)
            _check(path, content)
            return StoredScores(path, content)
        except DamagedFileError as error:
            there = set_aside(error.path)
            log.warning("%s is damaged (%s), set aside: %s", path, error.reason, there)
            return StoredScores(path, {})


class StoredScores:
    """The scores of one result.

    Args:
        path: Its file.
        content: Metric to row to digest, values, curve and features, as in the file.
    """

    def __init__(self, path: Path | str, content: dict[str, dict[str, Any]]) -> None:
        self.path = path
        self._content = content
        self._changed = False

    def get(self, metric: str, row: str, digest: str) -> ImageScore | None:
        """The score under this digest, or None."""
        entry = self._content.get(metric, {}).get(row)
        if entry is None or entry["key"] != digest:
            return None
        curve = entry["curve"]
        return ImageScore(
            {name: _number(value) for name, value in entry["values"].items()},
            None if curve is None else _tensor(curve),
            {name: _tensor(vector) for name, vector in entry.get("features", {}).items()},
        )

    def values(self, metric: str, row: str, made_by: str | None = None) -> dict[str, float] | None:
        """The numbers of a score that this metric made, whatever of; None if there is none.

        Args:
            metric: Name of the metric.
            row: Name of the row.
            made_by: Digest of the metric, its settings and weights; None takes those of any.
        """
        entry = self._content.get(metric, {}).get(row)
        if entry is None or made_by not in (None, entry.get("made_by")):
            return None
        return {name: _number(value) for name, value in entry["values"].items()}

    def put(self, metric: str, row: str, digest: str, score: ImageScore, made_by: str = "") -> None:
        """Note a score; `save` writes it."""
        entry: dict[str, Any] = {
            "key": digest,
            "made_by": made_by,
            "values": {name: _json(value) for name, value in score.values.items()},
            "curve": None if score.curve is None else [_json(v) for v in score.curve.tolist()],
        }
        if score.features:
            entry["features"] = {
                name: [_json(v) for v in vector.tolist()] for name, vector in score.features.items()
            }
        self._content.setdefault(metric, {})[row] = entry
        self._changed = True

    def get_or_compute(
        self,
        metric: str,
        row: str,
        digest: str,
        compute: Callable[[], ImageScore],
        made_by: str = "",
    ) -> ImageScore:
        """The score under this digest, computed and noted if it is not there."""
        score = self.get(metric, row, digest)
        if score is None:
            self.put(metric, row, digest, compute(), made_by)
            score = self.get(metric, row, digest)  # as a later run will read it
        assert score is not None
        return score

    def save(self) -> None:
        """Write the file atomically if a score was added."""
        if self._changed:
            path = Path(self.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self._content, allow_nan=False, sort_keys=True)
            write_text(path, text + "\n")
            self._changed = False


def _check(path: Path | str, content: Mapping[str, Any]) -> None:
    """Refuse what `StoredScores.put` does not write.

    Raises:
        DamagedFileError: If it is the content of something else.
    """
    try:
        for rows in content.values():
            for entry in rows.values():
                curve, features = entry["curve"], entry.get("features", {})
                numbers = [*entry["values"].values(), *(curve or ()), *chain(*features.values())]
                if not isinstance(entry["key"], str) or not all(map(_is_number, numbers)):
                    raise ValueError("no score")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(Path(path), f"not what fido writes of scores: {error!r}") from error


def _is_number(value: object) -> bool:
    return value is None or type(value) in (int, float)


def _tensor(numbers: list[float | None]) -> Tensor:
    return torch.tensor([_number(v) for v in numbers], dtype=torch.float64)


def _json(value: float) -> float | None:
    """NaN is null: JSON has no NaN."""
    return None if math.isnan(value) else float(value)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
