"""Scores on disk: one file an image, whole or not there, from which everything else is made."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fido.metrics.base import ImageScore
from fido.runtime.files import write_text


class ScoreStore:
    """`<folder>/<image id>.json`: what every metric measured for every row of that image.

    A score is kept with a key made of everything that it depends on. Whoever asks with another
    key (another map, other settings) finds nothing, so a stale score is never used. Two processes
    may write into one folder as long as they work on different images.

    Args:
        folder: Where the files are; made on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, image_id: str) -> ImageScores:
        """The page of one image, empty if there is none yet."""
        path = self.folder / f"{image_id}.json"
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return ImageScores(path, content)


class ImageScores:
    """The scores of one image.

    Args:
        path: Its file.
        content: Metric to row to key, values and curve, as in the file.
    """

    def __init__(self, path: Path, content: dict[str, dict[str, Any]]) -> None:
        self.path = path
        self._content = content
        self._changed = False

    def get(self, metric: str, row: str, key: str) -> ImageScore | None:
        """The score under this key, or None."""
        entry = self._content.get(metric, {}).get(row)
        if entry is None or entry["key"] != key:
            return None
        values = {name: _number(value) for name, value in entry["values"].items()}
        curve = entry["curve"]
        if curve is None:
            return ImageScore(values)
        return ImageScore(values, torch.tensor([_number(v) for v in curve], dtype=torch.float64))

    def put(self, metric: str, row: str, key: str, score: ImageScore) -> None:
        """Note a score; `save` writes it."""
        curve = None if score.curve is None else [_json(v) for v in score.curve.tolist()]
        self._content.setdefault(metric, {})[row] = {
            "key": key,
            "values": {name: _json(value) for name, value in score.values.items()},
            "curve": curve,
        }
        self._changed = True

    def get_or_compute(
        self, metric: str, row: str, key: str, measure: Callable[[], ImageScore]
    ) -> ImageScore:
        """The score under this key, measured and noted if it is not there."""
        score = self.get(metric, row, key)
        if score is None:
            self.put(metric, row, key, measure())
            score = self.get(metric, row, key)  # as a later run will read it
        assert score is not None
        return score

    def save(self) -> None:
        """Write the page atomically if a score was added."""
        if self._changed:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self._content, allow_nan=False, sort_keys=True)
            write_text(self.path, text + "\n")
            self._changed = False


def digest(*parts: Mapping[str, Any] | Tensor | str | float | int | None) -> str:
    """A short name of settings and tensors that differs where they do."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            sha.update(f"{part.dtype}{tuple(part.shape)}".encode())
            sha.update(part.detach().cpu().contiguous().numpy().tobytes())
        else:
            sha.update(json.dumps(part, sort_keys=True, default=str).encode())
        sha.update(b"\0")
    return sha.hexdigest()[:24]


def _json(value: float) -> float | None:
    """NaN is null: JSON has no NaN."""
    return None if math.isnan(value) else float(value)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
