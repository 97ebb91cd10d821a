"""Explanations on disk: one file a result, whole or not there, and the settings that made them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fido.records import Explanation, Key, RegionEdit, Sample
from fido.runtime.files import atomic_path, create_json, write_json, write_text
from fido.runtime.names import file_name, text_of

Row = dict[str, str | int | float | None]
"""What is known about one result, flat: a row of `scores.csv`."""

FORMAT = 2
"""Raised when folders of older versions can no longer be read."""

_STEM = re.compile(r"(?P<image>.*)\.class(?P<target>-?\d+)\.seed(?P<seed>-?\d+)")


class SettingsMismatchError(ValueError):
    """A folder holds explanations made with other settings than those of this run."""


class DamagedResultError(ValueError):
    """A file of a store cannot be read; the message names it and says what to do."""


def file_stem(key: Key) -> str:
    """Name of a result's files without suffix, e.g. "coffee.class967.seed0"; see `file_name`."""
    return f"{file_name(key.image_id)}.class{key.target}.seed{key.seed}"


class ResultsStore:
    """`explanations/<image>.class<target>.seed<seed>.safetensors` and their tables in one folder.

    An explanation file holds everything that a report needs, so that no network has to run again:

    - `saliency`, and `keep_prob` where it is something else; a tensor `history/<curve>` for each
      curve; `counterfactual` and `estimates` where the method makes them;
    - what was explained: `image` in 8 bits, `boxes` where known;
    - the edit by the explanation's region: images `kept` and `removed` in 8 bits, `probabilities`
      (3, classes) of photo and edits;
    - in its metadata the result's row, threshold, cost and the two first classes of the photo.

    Results that could not be had have a note in `not_explained/`. `settings.json` says what
    determines the maps. Files are written to a temporary name and renamed: every file is complete.
    Several processes may write into one store at the same time.

    Wherever a key is taken, the id of an image will do if the store has one result of it.

    Args:
        folder: The run's folder, made if missing.
        settings: What determines the maps. The first run writes them to `settings.json`; a later
            run must have the same.

    Raises:
        SettingsMismatchError: If the folder was begun with other settings; names them.
        ValueError: If another version of fido wrote the folder in another format.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.explanations = self.folder / "explanations"
        self.not_explained = self.folder / "not_explained"
        self._check_format()
        if settings is not None:
            self._check_settings(settings)
        self.explanations.mkdir(parents=True, exist_ok=True)

    def __contains__(self, key: Key | str) -> bool:
        if isinstance(key, Key):
            return self._path(key).is_file()
        return any(self._keys_of(key))

    def __iter__(self) -> Iterator[Key]:
        """Keys of finished results, sorted."""
        yield from sorted(
            self._key_of(path) for path in self.explanations.glob("[!.]*.safetensors")
        )

    def __len__(self) -> int:
        return sum(1 for _ in self.explanations.glob("[!.]*.safetensors"))

    def by_image(self) -> dict[str, list[Key]]:
        """Image id to the keys of its results, from one look into the folder."""
        keys: dict[str, list[Key]] = {}
        for key in self:
            keys.setdefault(key.image_id, []).append(key)
        return keys

    def figure_path(self, key: Key) -> Path:
        """Where the figure of a result belongs."""
        return self.folder / "figures" / f"{file_stem(key)}.png"

    def save(
        self,
        sample: Sample,
        explanation: Explanation,
        row: Row,
        edit: RegionEdit | None = None,
        ranking: Sequence[int] = (),
    ) -> Path:
        """Write one result; an earlier note of why there was none is removed.

        Args:
            sample: What was explained.
            explanation: The result.
            row: Its numbers and names.
            edit: The image edited by the explanation's region.
            ranking: The photo's classes, the most probable one first, as far as they are wanted
                when the run is started again.
        """
        tensors = {
            "saliency": explanation.saliency.contiguous(),
            "image": _to_8_bits(sample.image),
        }
        if sample.boxes is not None:
            tensors["boxes"] = sample.boxes.contiguous()
        keep_prob = explanation.keep_prob
        same = keep_prob is not None and torch.equal(keep_prob, explanation.saliency)
        if keep_prob is not None and not same:
            tensors["keep_prob"] = keep_prob.contiguous()
        if explanation.counterfactual is not None:
            tensors["counterfactual"] = explanation.counterfactual.contiguous()
        if explanation.estimates is not None:
            tensors["estimates"] = explanation.estimates.contiguous()
        for name, curve in explanation.history.items():
            tensors[f"history/{name}"] = curve.contiguous()
        if edit is not None:
            tensors["kept"], tensors["removed"] = _to_8_bits(edit.kept), _to_8_bits(edit.removed)
            tensors["probabilities"] = edit.probabilities.contiguous()
        about = {
            "format": FORMAT,
            "key": list(explanation.key),
            "row": row,
            "threshold": explanation.threshold,
            "cost": explanation.cost,
            "saliency_is_keep_prob": same,
            "ranking": list(ranking),
        }
        # One key only: safetensors writes several in an order that changes from run to run.
        # ASCII: ids may hold bytes that are no UTF-8.
        metadata = {"fido": json.dumps(about)}
        path = self._path(explanation.key)
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
        for stem in (path.stem, file_name(explanation.id)):
            (self.not_explained / f"{stem}.json").unlink(missing_ok=True)
        return path

    def save_not_explained(self, row: Row) -> None:
        """Note why an image has no explanation.

        Args:
            row: With "id", "status" and "reason"; with "target" and "seed" where they were known.
        """
        image_id, target = str(row["id"]), row.get("target")
        known = isinstance(target, int)
        stem = file_stem(_row_key(row)) if known else file_name(image_id)
        write_json(self.not_explained / f"{stem}.json", row)

    def load(self, key: Key | str) -> Explanation:
        """Read one explanation.

        Raises:
            KeyError: If the result is not in the store.
            DamagedResultError: If its file cannot be read.
        """
        about, tensors = self._read(key)
        saliency = tensors["saliency"]
        image_id, target, seed = about["key"]
        return Explanation(
            id=image_id,
            target=target,
            saliency=saliency,
            threshold=about["threshold"],
            keep_prob=saliency if about["saliency_is_keep_prob"] else tensors.get("keep_prob"),
            counterfactual=tensors.get("counterfactual"),
            estimates=tensors.get("estimates"),
            history={
                name.removeprefix("history/"): tensor
                for name, tensor in tensors.items()
                if name.startswith("history/")
            },
            cost=about["cost"],
            seed=seed,
        )

    def sample(self, key: Key | str) -> Sample:
        """What was explained; the image as it was to 8 bits.

        Raises:
            KeyError, DamagedResultError: See `load`.
        """
        about, tensors = self._read(key, "image", "boxes")
        row = about["row"]
        return Sample(
            id=about["key"][0],
            image=tensors["image"].float() / 255,
            label=row["label"],
            boxes=tensors.get("boxes"),
            target=row["target"],
        )

    def edit(self, key: Key | str) -> RegionEdit | None:
        """The image edited by the explanation's region, to 8 bits; None if none was stored.

        Raises:
            KeyError, DamagedResultError: See `load`.
        """
        _, tensors = self._read(key, "kept", "removed", "probabilities")
        if "kept" not in tensors:
            return None
        return RegionEdit(
            tensors["kept"].float() / 255,
            tensors["removed"].float() / 255,
            tensors["probabilities"],
        )

    def row(self, key: Key | str) -> Row:
        """The row saved with an explanation.

        Raises:
            KeyError, DamagedResultError: See `load`.
        """
        row: Row = self._about(self._one(key))["row"]
        return row

    def ranking(self, key: Key | str) -> list[int]:
        """The photo's first classes, as far as they were stored.

        Raises:
            KeyError, DamagedResultError: See `load`.
        """
        ranking: list[int] = self._about(self._one(key))["ranking"]
        return ranking

    def rows(self) -> list[Row]:
        """Rows of all finished and failed results, sorted by id, target and seed."""
        rows = [self.row(key) for key in self]
        rows += self.rows_not_explained()
        return sorted(rows, key=lambda row: _row_key(row))

    def rows_not_explained(self) -> list[Row]:
        """Rows of what has no explanation, with the reasons."""
        keys = set(self)
        images = {(key.image_id, key.seed) for key in keys}
        rows: list[Row] = []
        for path in self.not_explained.glob("[!.]*.json"):
            # Another process that explains the image after all removes the note.
            with suppress(FileNotFoundError):
                row = json.loads(path.read_text(encoding="utf-8"))
                key = _row_key(row)
                known = isinstance(row.get("target"), int)
                if key not in keys if known else (key.image_id, key.seed) not in images:
                    rows.append(row)
        return rows

    def rows_until_stable(self, complete: Callable[[], bool]) -> Iterator[list[Row]]:
        """All rows, for files that are made of all of them: write those for every list that comes.

        Of processes that end together, one that has read fewer rows may write last. So another
        list follows if rows have changed since this one was read and none is missing. If some are
        missing, whoever adds them writes later. When the last process ends, the files are whole.

        Args:
            complete: Says whether all results of the run are there.
        """
        while True:
            before = self._files()
            yield self.rows()
            if self._files() == before or not complete():
                return

    def set_aside_damaged(self) -> list[Path]:
        """Move result files that cannot be read to `damaged/`, so that they are made again.

        Returns:
            Where they are now.
        """
        moved = []
        for path in sorted(self.explanations.glob("[!.]*.safetensors")):
            try:
                self._key_of(path)
                self._about(path)
            except FileNotFoundError:  # another process was faster
                continue
            except ValueError:
                target = self.folder / "damaged" / path.name
                target.parent.mkdir(exist_ok=True)
                with suppress(FileNotFoundError):
                    path.replace(target)
                    moved.append(target)
        return moved

    def write_scores(self, rows: Iterable[Row] | None = None) -> Path:
        """Write `scores.csv`: one line a result, finished or failed.

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

    def scores(self) -> dict[Key, Row]:
        """The lines of `scores.csv` as text, by key; empty if it was not written yet."""
        path = self.folder / "scores.csv"
        if not path.is_file():
            return {}
        with path.open(newline="", encoding="utf-8") as lines:
            return {
                Key(row["id"], int(row["target"]), int(row["seed"])): dict(row)
                for row in csv.DictReader(lines)
                if row.get("target") and row.get("seed")
            }

    def settings(self) -> dict[str, Any]:
        """What determined the maps; empty for a folder that was begun without settings.

        Raises:
            DamagedResultError: If the file cannot be read.
        """
        settings = self._json("settings.json")
        settings.pop("format", None)
        return settings

    def save_class_names(self, names: Sequence[str]) -> None:
        """Write the names of the classifier's classes, for figures and reports."""
        create_json(self.folder / "class_names.json", {"class_names": list(names)})

    def class_names(self) -> list[str]:
        """Names of the classifier's classes; empty if they were not stored.

        Raises:
            DamagedResultError: If the file cannot be read.
        """
        names: list[str] = self._json("class_names.json").get("class_names", [])
        return names

    def _path(self, key: Key) -> Path:
        return self.explanations / f"{file_stem(key)}.safetensors"

    def _key_of(self, path: Path) -> Key:
        """The key of a result's file: by its name, or where the name was cut by its content."""
        parts = _STEM.fullmatch(path.stem)
        if parts is None:
            raise ValueError(_other_format(self.folder))
        image_id = text_of(parts["image"])
        if image_id is None:
            image_id = self._about(path)["key"][0]
        return Key(image_id, int(parts["target"]), int(parts["seed"]))

    def _keys_of(self, image_id: str) -> Iterator[Path]:
        """The files of an image's results."""
        start = file_name(image_id)
        for path in self.explanations.iterdir():
            parts = _STEM.fullmatch(path.stem)
            if parts is not None and parts["image"] == start and path.suffix == ".safetensors":
                yield path

    def _one(self, key: Key | str) -> Path:
        """The file of a result."""
        if isinstance(key, Key):
            path = self._path(key)
            if not path.is_file():
                raise KeyError(f"no explanation of {key} in {self.folder}")
            return path
        paths = list(self._keys_of(key))
        if len(paths) != 1:
            raise KeyError(
                f"{len(paths) or 'no'} explanations of {key!r} in {self.folder}; "
                "give a Key(image_id, target, seed)"
                if paths
                else f"no explanation of {key!r} in {self.folder}"
            )
        return paths[0]

    def _about(self, path: Path) -> dict[str, Any]:
        """The metadata of a result's file, after a look at whether the file is whole."""
        try:
            # Only the header: `safe_open` maps the whole file, which adds up over many of them.
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if not 0 < length <= 100_000_000:
                    raise ValueError("no header")
                header = json.loads(file.read(length))
                size = (
                    8 + length + max(t["data_offsets"][1] for n, t in header.items() if n[0] != "_")
                )
                if size != file.seek(0, 2):
                    raise ValueError(f"{file.tell()} bytes, expected {size}")
            about: dict[str, Any] = json.loads(header["__metadata__"]["fido"])
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedResultError(_damaged(path, error)) from error
        if about.get("format") != FORMAT:
            raise ValueError(_other_format(self.folder))
        return about

    def _read(self, key: Key | str, *names: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Metadata and tensors of a result's file, of these names as far as it has them."""
        path = self._one(key)
        about = self._about(path)
        try:
            with safe_open(path, framework="pt") as file:
                there = list(file.keys())
                wanted = [name for name in there if not names or name in names]
                return about, {name: file.get_tensor(name) for name in wanted}
        except (SafetensorError, OSError) as error:
            raise DamagedResultError(_damaged(path, error)) from error

    def _json(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder; empty if there is none."""
        path = self.folder / name
        if not path.is_file():
            return {}
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DamagedResultError(_damaged(path, error)) from error
        return content

    def _files(self) -> dict[tuple[str, str], int]:
        """Folder and name of every file that rows are read from, to its time in ns."""
        times: dict[tuple[str, str], int] = {}
        for folder, suffix in ((self.explanations, "safetensors"), (self.not_explained, "json")):
            for path in folder.glob(f"[!.]*.{suffix}"):
                with suppress(FileNotFoundError):
                    times[folder.name, path.stem] = path.stat().st_mtime_ns
        return times

    def _check_format(self) -> None:
        settings = self._json("settings.json")
        if settings and settings.get("format") != FORMAT:
            raise ValueError(_other_format(self.folder))

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        if create_json(self.folder / "settings.json", {"format": FORMAT, **settings}):
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


def _to_8_bits(image: torch.Tensor) -> torch.Tensor:
    return (image * 255).round().to(torch.uint8).contiguous()


def _row_key(row: Row) -> Key:
    """The key of a row; -1 where the target was not known."""
    target, seed = row.get("target"), row.get("seed")
    return Key(
        str(row["id"]),
        target if isinstance(target, int) else -1,
        seed if isinstance(seed, int) else 0,
    )


def _other_format(folder: Path) -> str:
    return (
        f"{folder} holds explanations in the format of another version of fido; this version "
        f"reads format {FORMAT}. Choose another folder and explain the images again, or read it "
        "with the version that wrote it."
    )


def _damaged(path: Path, error: Exception) -> str:
    return f"{path} is damaged ({error}): remove it, and the same command makes it again"


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("a.b.c", leaf) for every leaf of nested mappings."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _flat(child, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
