"""Explanations on disk: one file an image, whole or not there, and the settings that made them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fido.records import Explanation, Sample
from fido.runtime.files import atomic_path, create_json, write_json, write_text

Row = dict[str, str | int | float | None]
"""What is known about one explained image, flat: a row of `scores.csv`."""


class SettingsMismatchError(ValueError):
    """A folder holds explanations made with other settings than those of this run."""


class ResultsStore:
    """`explanations/<id>.safetensors`, `not_explained/<id>.json` and `scores.csv` in one folder.

    An explanation file holds `saliency`, `keep_prob` (where the method has one), a tensor
    `history/<curve>` for each curve, and what was explained: `image` in 8 bits, `boxes` where
    known. Its metadata holds the image's row, threshold and cost as JSON. So whatever looks at a
    store needs nothing but the store. Files are written to a temporary name and renamed: every
    file is complete. Several processes may write into one store at the same time.

    Args:
        folder: The run's folder, made if missing.
        settings: What determines the maps. The first run writes them to `settings.json`; a later
            run must have the same.

    Raises:
        SettingsMismatchError: If the folder was begun with other settings; names them.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.explanations = self.folder / "explanations"
        self.not_explained = self.folder / "not_explained"
        self.explanations.mkdir(parents=True, exist_ok=True)
        if settings is not None:
            self._check_settings(settings)

    def __contains__(self, image_id: str) -> bool:
        return self._path(image_id).is_file()

    def __iter__(self) -> Iterator[str]:
        """Ids of finished images, sorted."""
        yield from sorted(p.stem for p in self.explanations.glob("[!.]*.safetensors"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def save(self, sample: Sample, explanation: Explanation, row: Row) -> Path:
        """Write one explanation with its row; an earlier note of why there was none is removed."""
        tensors = {
            "saliency": explanation.saliency.contiguous(),
            "image": (sample.image * 255).round().to(torch.uint8),
        }
        if sample.boxes is not None:
            tensors["boxes"] = sample.boxes.contiguous()
        if explanation.keep_prob is not None:
            tensors["keep_prob"] = explanation.keep_prob.clone()  # SSR's saliency is the same
        for name, curve in explanation.history.items():
            tensors[f"history/{name}"] = curve.contiguous()
        about = {"row": row, "threshold": explanation.threshold, "cost": explanation.cost}
        # One key only: safetensors writes several in an order that changes from run to run.
        metadata = {"fido": json.dumps(about, ensure_ascii=False)}
        path = self._path(explanation.id)
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
        (self.not_explained / f"{explanation.id}.json").unlink(missing_ok=True)
        return path

    def save_not_explained(self, image_id: str, row: Row) -> None:
        """Note that an image has no explanation; its row says why ("status", "reason")."""
        write_json(self.not_explained / f"{image_id}.json", row)

    def load(self, image_id: str) -> Explanation:
        """Read one explanation.

        Raises:
            KeyError: If the image is not in the store.
        """
        with self._open(image_id) as file:
            about = json.loads(file.metadata()["fido"])
            names = list(file.keys())
            return Explanation(
                id=image_id,
                target=about["row"]["target"],
                saliency=file.get_tensor("saliency"),
                threshold=about["threshold"],
                keep_prob=file.get_tensor("keep_prob") if "keep_prob" in names else None,
                history={
                    name.removeprefix("history/"): file.get_tensor(name)
                    for name in names
                    if name.startswith("history/")
                },
                cost=about["cost"],
            )

    def sample(self, image_id: str) -> Sample:
        """What was explained; the image as it was to 8 bits.

        Raises:
            KeyError: If the image is not in the store.
        """
        with self._open(image_id) as file:
            row = json.loads(file.metadata()["fido"])["row"]
            return Sample(
                id=image_id,
                image=file.get_tensor("image").float() / 255,
                label=row["label"],
                boxes=file.get_tensor("boxes") if "boxes" in file.keys() else None,  # noqa: SIM118
                target=row["target"],
            )

    def row(self, image_id: str) -> Row:
        """The row saved with an explanation.

        Raises:
            KeyError: If the image is not in the store.
        """
        with self._open(image_id) as file:
            row: Row = json.loads(file.metadata()["fido"])["row"]
        return row

    def rows(self) -> list[Row]:
        """Rows of all finished and failed images, sorted by id."""
        rows = [self.row(image_id) for image_id in self]
        rows += self.rows_not_explained()
        return sorted(rows, key=lambda row: str(row["id"]))

    def rows_not_explained(self) -> list[Row]:
        """Rows of the images that have no explanation, with the reasons."""
        rows: list[Row] = []
        for path in self.not_explained.glob("[!.]*.json"):
            # Another process that explains the image after all removes the note.
            with suppress(FileNotFoundError):
                if path.stem not in self:
                    rows.append(json.loads(path.read_text(encoding="utf-8")))
        return rows

    def rows_until_stable(self, selected: Collection[str]) -> Iterator[list[Row]]:
        """All rows, for files that are made of all of them: write those for every list that comes.

        Of processes that end together, one that has read fewer rows may write last. So another
        list follows if rows have changed since this one was read and none is missing. If some are
        missing, whoever adds them writes later. When the last process ends, the files are whole.

        Args:
            selected: Ids of all images of the run.
        """
        while True:
            before = self._files()
            yield self.rows()
            now = self._files()
            if now == before or not {image_id for _, image_id in now}.issuperset(selected):
                return

    def write_scores(self, rows: Iterable[Row] | None = None) -> Path:
        """Write `scores.csv`: one line an image, finished or failed.

        Args:
            rows: None reads them.
        """
        rows = self.rows() if rows is None else list(rows)
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        path = self.folder / "scores.csv"
        write_text(path, text.getvalue())
        return path

    def _files(self) -> dict[tuple[str, str], int]:
        """Folder and image id of every file that rows are read from, to its time in ns."""
        times: dict[tuple[str, str], int] = {}
        for folder, suffix in ((self.explanations, "safetensors"), (self.not_explained, "json")):
            for path in folder.glob(f"[!.]*.{suffix}"):
                with suppress(FileNotFoundError):
                    times[folder.name, path.stem] = path.stat().st_mtime_ns
        return times

    def _path(self, image_id: str) -> Path:
        return self.explanations / f"{image_id}.safetensors"

    def _open(self, image_id: str) -> Any:
        if image_id not in self:
            raise KeyError(f"no explanation of {image_id!r} in {self.folder}")
        return safe_open(self._path(image_id), framework="pt")

    def settings(self) -> dict[str, Any]:
        """What determined the maps; empty for a folder that was begun without settings."""
        path = self.folder / "settings.json"
        if not path.is_file():
            return {}
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return settings

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        path = self.folder / "settings.json"
        if create_json(path, settings):
            return
        before = dict(_flat(self.settings()))
        # Through JSON and back, so that tuples and lists compare equal.
        now = dict(_flat(json.loads(json.dumps(settings))))
        differ = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if differ:
            lines = [f"  {key}: {before.get(key)} there, {now.get(key)} now" for key in differ]
            raise SettingsMismatchError(
                f"{self.folder} holds explanations made with other settings:\n"
                + "\n".join(lines)
                + "\nChoose another folder (hydra.run.dir=DIR) or the same settings."
            )


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("a.b.c", leaf) for every leaf of nested mappings."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _flat(child, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
