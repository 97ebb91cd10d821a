"""The base class of image sources."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from fido.data.classes import class_indices
from fido.data.depth import Range
from fido.data.geometry import Geometry
from fido.data.photo import open_photo
from fido.records import PhotoRecord, Sample
from fido.runtime.digests import file_digest
from fido.runtime.noise import image_seed


@dataclass(frozen=True)
class Entry:
    """One image of a source, not yet read.

    Attributes:
        id: Unique in its source, safe as a file name.
        path: The image file.
        label: Class index of the ground truth, where known.
        boxes: xmin, ymin, xmax, ymax of every box, where known.
        boxes_unit: "pixel" of the file's image, or "fraction" of its sides.
    """

    id: str
    path: Path
    label: int | None = None
    boxes: tuple[tuple[float, float, float, float], ...] | None = None
    boxes_unit: str = "pixel"


def unique_ids(files: Sequence[Path], depth: int = 0) -> list[str]:
    """An id for every file of a source, different for all of them.

    A file is called by its path without suffix, folders joined by "__": "sub__photo". Where several
    would have one name the suffix is added, "photo_jpg" and "photo_png", and where that is not
    enough ("x/y.png" beside "x__y.png") the path stays as it is.

    Args:
        files: Different paths.
        depth: How many parts of each are the source's folder, and in no id.
    """
    short = ["__".join((*file.parts[depth:-1], file.stem)) for file in files]
    often = Counter(short)
    longer = [
        name if often[name] == 1 else name + file.suffix.replace(".", "_")
        for name, file in zip(short, files, strict=True)
    ]
    often = Counter(longer)
    ids = [
        name if often[name] == 1 else "/".join(file.parts[depth:])
        for name, file in zip(longer, files, strict=True)
    ]
    return ids if len(set(ids)) == len(ids) else ["/".join(file.parts[depth:]) for file in files]


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"data.ids={path}: no such file; expected one id a line")
    return [line for line in _text(path).split("\n") if line]


def _text(path: Path) -> str:
    """Of a file of ids: names of files that are no UTF-8 stay what they are."""
    return path.read_text(encoding="utf-8-sig", errors="surrogateescape")


class PhotoSource(ABC):
    """A list of images; subclasses say which.

    Args:
        size: (h, w) that the classifier takes.
        crop_fraction: The classifier's; see `Geometry`.
        interpolation: The classifier's; see `Geometry`.
        resize: "keep_aspect", "squash", "squash_crop" or "letterbox"; see `Geometry`.
        index: Position of one image, or a list of positions; None takes all.
        limit: At most so many images, after `index`, `ids` and `random_order`; None takes all.
        ids: Ids of the images to take, in this order, or the path of a text file with one a line,
            FILE.txt; None takes all.
        only_correct: Leave out images whose prediction differs from their label.
        on_error: What to do about an unreadable image: "stop" the run or "skip" the image.
        range: Which values of images of more than 8 bits are black and white; see
            `fido.data.depth.limits`.
        classes: Only images with these labels: indices, WordNet ids or names of groups; see
            `fido.data.classes.class_indices`. None takes all.
        random_order: Seed of a random order, so that `limit` takes images at random and a larger
            one adds some; None is the source's order.

    Attributes:
        least_share: The smallest share of a photo's area that the crop has left, of those loaded.

    Raises:
        ValueError: If an argument is not one of these.
    """

    def __init__(
        self,
        size: tuple[int, int],
        crop_fraction: float = 0.875,
        interpolation: str = "bilinear",
        resize: str = "keep_aspect",
        index: int | Sequence[int] | None = None,
        limit: int | None = None,
        ids: Sequence[str] | None = None,
        only_correct: bool = False,
        on_error: str = "stop",
        range: Range = "auto",
        classes: int | str | Sequence[int | str] | None = None,
        random_order: int | None = None,
    ) -> None:
        if on_error not in ("stop", "skip"):
            raise ValueError(f"data.on_error must be stop or skip, got {on_error!r}")
        if limit is not None and limit < 1:
            raise ValueError(f"data.limit must be 1 or more, or null for all; got {limit}")
        self.geometry = Geometry((size[0], size[1]), resize, crop_fraction, interpolation)
        self.index = [index] if isinstance(index, int) else index
        self.limit = limit
        self.classes = None if classes is None else class_indices(classes)
        self.random_order = random_order
        if isinstance(ids, str) and ids.endswith(".txt"):
            ids = _lines(Path(ids).expanduser())
        # On a command line `data.ids=[285,286]` holds numbers.
        one = isinstance(ids, str | int)
        self.ids = None if ids is None else [str(i) for i in ([ids] if one else ids)]
        self.only_correct = only_correct
        self.on_error = on_error
        self.range = range
        self.least_share = 1.0

    @abstractmethod
    def entries(self) -> list[Entry]:
        """Return all images of the source, in a fixed order.

        Raises:
            FileNotFoundError: If the source is not where it is said to be.
            ValueError: If its lists cannot be read.
        """

    def selected(self) -> list[Entry]:
        """Return the images that `index`, `ids`, `classes`, `random_order` and `limit` select.

        Raises:
            ValueError: If an index or id does not exist, or nothing is left.
        """
        entries = self.entries()
        if self.index is not None:
            outside = [i for i in self.index if not -len(entries) <= i < len(entries)]
            if outside:
                raise ValueError(f"data.index={outside[0]}, but there are {len(entries)} images")
            entries = [entries[i] for i in dict.fromkeys(i % len(entries) for i in self.index)]
        if self.ids is not None:
            known = {entry.id: entry for entry in entries}
            missing = [wanted for wanted in self.ids if wanted not in known]
            if missing:
                raise ValueError(
                    f"data.ids: no image {missing[0]!r}; the first ids are "
                    f"{', '.join(list(known)[:5])}"
                )
            entries = [known[wanted] for wanted in dict.fromkeys(self.ids)]
        if not entries:
            raise ValueError("the data source holds no images")
        if self.classes is not None:
            entries = [entry for entry in entries if entry.label in self.classes]
            if not entries:
                raise ValueError("data.classes: no image of the source has one of these labels")
        if self.random_order is not None:
            seed = self.random_order
            entries = sorted(entries, key=lambda entry: image_seed(seed, entry.id, "order"))
        return entries[: self.limit]

    def load(self, entry: Entry) -> Sample:
        """Read one image with its boxes through the source's geometry.

        Raises:
            UnreadableImageError: If the file cannot be read.
        """
        photo = self.open(entry)
        boxes = None
        if entry.boxes is not None:
            width, height = photo.size
            pixels = torch.tensor(entry.boxes, dtype=torch.float32).reshape(-1, 4)
            if entry.boxes_unit == "fraction":
                pixels = pixels * torch.tensor([width, height, width, height])
            boxes = self.geometry.boxes(pixels, width, height)
        record = self._record(entry, photo)
        self.least_share = min(self.least_share, record.share)
        return Sample(entry.id, self.geometry.image(photo), entry.label, boxes, photo=record)

    def open(self, entry: Entry) -> Image.Image:
        """The RGB photo of an entry."""
        return open_photo(entry.path, self.range)

    def _record(self, entry: Entry, photo: Image.Image) -> PhotoRecord:
        crop = self.geometry.rectangle(*photo.size)
        if not entry.path.is_file():  # made, not read
            digest = hashlib.sha256(photo.tobytes()).hexdigest()
            return PhotoRecord(entry.id, digest, *photo.size, crop)
        path, digest = str(entry.path.absolute()), file_digest(entry.path)
        return PhotoRecord(path, digest, *photo.size, crop)
