"""One result on disk: a safetensors file that is whole or not there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fido.records import Explanation, Key, PhotoRecord, RegionEdit, Sample
from fido.runtime.files import DamagedFileError
from fido.runtime.names import file_name, text_of
from fido.runtime.tensors import save_tensors

Row = dict[str, str | int | float | None]
"""What is known about one result, flat: a row of `scores.csv`."""

FORMAT = 2
"""Raised when files of older versions can no longer be read."""

IMAGES = ("image", "boxes", "kept", "removed", "probabilities")
"""Tensors that belong to the photo and its edits, not to the explanation."""

_USUAL_HEADER = 4096  # bytes

_ABOUT = {"key", "row", "threshold", "cost", "saliency_is_keep_prob", "ranking", "photo"}
_BEGIN = f'{{"format": {FORMAT},'
_STEM = re.compile(r"(?P<image>.*)\.class(?P<target>-?\d+)\.seed(?P<seed>-?\d+)")


class OtherFormatError(ValueError):
    """A folder was written by a version of fido whose files this one does not read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} holds explanations in the format of another version of fido; this version "
            f"reads format {FORMAT}. Choose another folder and explain the images again, or read "
            "it with the version that wrote it."
        )
        self.folder = folder

    def __reduce__(self) -> tuple[type[OtherFormatError], tuple[Path]]:
        return type(self), (self.folder,)  # errors of workers travel


def file_stem(key: Key) -> str:
    """Name of a result's files without suffix, e.g. "coffee.class967.seed0"; see `file_name`."""
    return f"{file_name(key.image_id)}.class{key.target}.seed{key.seed}"


def note_stem(image_id: str) -> str:
    """Name, without suffix, of the note of an image whose class is not known.

    Of an image that is called like another one's result, "coffee.class967.seed0", a name that no
    result has.
    """
    name = file_name(image_id)
    return f"{name}~" if _STEM.fullmatch(name) else name


def write_result(
    path: Path,
    sample: Sample,
    explanation: Explanation,
    row: Row,
    edit: RegionEdit | None = None,
    ranking: Sequence[int] = (),
) -> None:
    """Write everything that a report needs of one result, so that no network has to run again.

    - `saliency`, `keep_prob` where it is something else, its `standard_error`; a tensor
      `history/<curve>` for each curve; `counterfactual` and `estimates` where the method makes
      them;
    - what was explained: `image` in 8 bits, `boxes` where known;
    - the edit by the explanation's region: images `kept` and `removed` in 8 bits, `probabilities`
      (3, classes) of photo and edits;
    - in the metadata the row, threshold, cost, the photo's first classes and its `PhotoRecord`.

    Args:
        path: The file.
        sample: What was explained.
        explanation: The result.
        row: Its numbers and names.
        edit: The image edited by the explanation's region.
        ranking: The photo's classes, the most probable one first, as far as they are wanted when
            the run is started again.
    """
    keep_prob = explanation.keep_prob
    same = keep_prob is not None and torch.equal(keep_prob, explanation.saliency)
    tensors: dict[str, Tensor | None] = {
        "saliency": explanation.saliency,
        "keep_prob": None if same else keep_prob,
        "standard_error": explanation.standard_error,
        "counterfactual": explanation.counterfactual,
        "estimates": explanation.estimates,
        "image": _to_8_bits(sample.image),
        "boxes": sample.boxes,
        **{f"history/{name}": curve for name, curve in explanation.history.items()},
    }
    if edit is not None:
        tensors |= {
            "kept": _to_8_bits(edit.kept),
            "removed": _to_8_bits(edit.removed),
            "probabilities": edit.probabilities,
        }
    about = {
        "format": FORMAT,
        "key": list(explanation.key),
        "row": row,
        "threshold": explanation.threshold,
        "cost": explanation.cost,
        "saliency_is_keep_prob": same,
        "ranking": list(ranking),
        "photo": None if sample.photo is None else asdict(sample.photo),
    }
    # One key only: safetensors writes several in an order that changes from run to run.
    # ASCII: ids may hold bytes that are no UTF-8.
    metadata = {"fido": json.dumps(about)}
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_tensors(path, given, metadata)


class ResultFile:
    """Reads the file of one result, no more of it than is asked for.

    Args:
        path: The file.

    Raises:
        DamagedFileError: From every method, if the file is cut off or no result.
        OtherFormatError: From every method, if another version of fido wrote it.
        FileNotFoundError: From every method, if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def metadata(self) -> str:
        """The metadata as JSON text, after a look at whether the file is whole."""
        try:
            # Only the header: `safe_open` maps the whole file, which adds up over many of them.
            with open(self.path, "rb", buffering=_USUAL_HEADER) as file:
                length = int.from_bytes(file.read(8), "little")
                if not 0 < length <= 100_000_000:
                    raise ValueError("no header")
                header = json.loads(file.read(length))
                size = os.fstat(file.fileno()).st_size
            metadata: str = header.pop("__metadata__")["fido"]
            expected = 8 + length + max(entry["data_offsets"][1] for entry in header.values())
            if expected != size:
                raise ValueError(f"{size} bytes, expected {expected}")
            if not metadata.startswith(_BEGIN):
                _ = json.loads(metadata)["format"]
                raise OtherFormatError(self.path.parent.parent)
        except OtherFormatError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedFileError(self.path, f"no result of fido, or cut off: {error}") from error
        return metadata

    @cached_property
    def about(self) -> dict[str, Any]:
        """The metadata."""
        metadata = self.metadata
        try:
            about: dict[str, Any] = json.loads(metadata)
            image_id, target, seed = about["key"]
            known = isinstance(image_id, str) and type(target) is type(seed) is int
            if not known or not isinstance(about["row"], dict) or not about.keys() >= _ABOUT:
                raise ValueError("not what fido writes of a result")
            if file_stem(Key(image_id, target, seed)) != self.path.stem:
                raise ValueError(f"it is the result of {image_id!r}, class {target}, seed {seed}")
            about["ranking"] = [int(index) for index in about["ranking"]]
            if about["photo"] is not None:
                photo = about["photo"] | {"crop": tuple(about["photo"]["crop"])}
                about["photo"] = PhotoRecord(**photo)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedFileError(self.path, f"its metadata: {error!r}") from error
        return about

    def check(self) -> None:
        """Raise what reading the file would raise; its tensors are not looked at."""
        _ = self.key, self.metadata

    @property
    def key(self) -> Key:
        """What the result belongs to: by the file's name, or where that was cut by its content."""
        parts = _STEM.fullmatch(self.path.stem)
        if parts is None:
            _ = self.metadata  # of another format, or none of fido
            raise DamagedFileError(self.path, "no result of fido has such a name")
        image_id = text_of(parts["image"])
        if image_id is None:
            image_id = self.about["key"][0]
        return Key(image_id, int(parts["target"]), int(parts["seed"]))

    @property
    def row(self) -> Row:
        """Numbers and names of the result."""
        row: Row = self.about["row"]
        return row

    @property
    def ranking(self) -> list[int]:
        """The photo's first classes, as far as they were stored."""
        ranking: list[int] = self.about["ranking"]
        return ranking

    @property
    def photo(self) -> PhotoRecord | None:
        """The photo that was explained; None if it came from no source."""
        photo: PhotoRecord | None = self.about["photo"]
        return photo

    def explanation(self) -> Explanation:
        """The explanation."""
        tensors = self._tensors(lambda name: name not in IMAGES)
        saliency, (image_id, target, seed) = tensors["saliency"], self.about["key"]
        same = self.about["saliency_is_keep_prob"]
        return Explanation(
            id=image_id,
            target=target,
            saliency=saliency,
            threshold=self.about["threshold"],
            keep_prob=saliency if same else tensors.get("keep_prob"),
            standard_error=tensors.get("standard_error"),
            counterfactual=tensors.get("counterfactual"),
            estimates=tensors.get("estimates"),
            history={
                name.removeprefix("history/"): tensor
                for name, tensor in tensors.items()
                if name.startswith("history/")
            },
            cost=self.about["cost"],
            seed=seed,
        )

    def sample(self) -> Sample:
        """What was explained; the image as it was to 8 bits."""
        tensors = self._tensors(lambda name: name in ("image", "boxes"))
        return Sample(
            id=self.about["key"][0],
            image=tensors["image"].float() / 255,
            label=self.row["label"],  # type: ignore[arg-type]
            boxes=tensors.get("boxes"),
            target=self.about["key"][1],
            photo=self.photo,
        )

    def edit(self) -> RegionEdit | None:
        """The image edited by the explanation's region, to 8 bits; None if none was stored."""
        tensors = self._tensors(lambda name: name in ("kept", "removed", "probabilities"))
        if "kept" not in tensors:
            return None
        kept, removed = (tensors[name].float() / 255 for name in ("kept", "removed"))
        return RegionEdit(kept, removed, tensors["probabilities"])

    @cached_property
    def _opened(self) -> tuple[Any, list[str]]:
        """The file, open as long as this object lives, and the names of its tensors."""
        file: Any = safe_open(self.path, framework="pt")
        return file, list(file.keys())

    def _tensors(self, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
        self.check()
        try:
            file, names = self._opened
            return {name: file.get_tensor(name) for name in names if wanted(name)}
        except SafetensorError as error:
            if "os error" in str(error):  # out of file handles, say: nothing is wrong with the file
                raise OSError(f"{self.path}: {error}") from error
            raise DamagedFileError(self.path, error) from error
        except RuntimeError as error:  # PyTorch opens the file once more, by its own means
            if "unable to open file" in str(error):
                raise OSError(str(error)) from error
            raise


def _to_8_bits(image: Tensor) -> Tensor:
    return (image * 255).round().to(torch.uint8)
