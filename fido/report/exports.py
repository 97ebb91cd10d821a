"""Results in the formats of other programs: PNG, NPZ, COCO."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from fido.records import Explanation, Key, PhotoRecord
from fido.report.map_scale import map_scale
from fido.report.rle import Mask, encode
from fido.runs.result_file import file_stem
from fido.runs.store import ResultsStore
from fido.runtime.files import atomic_path, write_json

KINDS = ("map_png", "overlay", "mask", "npz", "coco")
SIZED = "original_size"
"""Among the kinds: everything is written at the size of the original photo."""

OPACITY = 0.6


class Original(NamedTuple):
    """The photo that a result was cut out of.

    Attributes:
        photo: RGB, at its own size.
        rectangle: Left, top, right, bottom of the part that was explained, in its pixels.
    """

    photo: Image.Image
    rectangle: tuple[float, float, float, float]


Originals = Callable[[str], Original]
"""From an image's id to its original photo."""


class _View(NamedTuple):
    """A result at the size at which it is written."""

    photo: NDArray[np.uint8]  # (h, w, 3)
    saliency: NDArray[np.float32]  # (h, w), NaN where nothing was explained
    region: Mask  # (h, w)


def check_kinds(kinds: Sequence[str]) -> None:
    """Refuse what cannot be exported.

    Raises:
        ValueError: Names what can.
    """
    known = (*KINDS, SIZED)
    for kind in kinds:
        if kind not in known:
            raise ValueError(
                f"export={kind}: there is no such export; give some of {', '.join(known)}"
            )
    if list(kinds) == [SIZED]:
        raise ValueError(f"export=[{SIZED}] says a size only; add one of {', '.join(KINDS)}")


def write_exports(
    store: ResultsStore,
    kinds: Sequence[str],
    keys: Iterable[Key] | None = None,
    originals: Originals | None = None,
) -> Path:
    """Write `exports/<kind>/<result>.png|npz` and `exports/coco.json` into a store's folder.

    - `map_png`: the map in 16-bit grey; value = low + grey / 65535 * (high - low), both of which
      are text entries of the PNG; pixels that were not explained are 0.
    - `overlay`: the map in the colours of its scale over the photo.
    - `mask`: the region, 255 inside.
    - `npz`: arrays `saliency` (NaN where nothing was explained), `region`, `photo` at that size,
      and as stored `kept`, `removed`, `probabilities`, `counterfactual`, `boxes`.
    - `coco`: the regions of all results as run lengths, categories by the class's index. Names of
      photos are those of their files, seen from the folder that all of them are in; without
      `SIZED` an image has the rectangle that was explained as `crop`: left, top, right, bottom in
      pixels of its file.

    Args:
        store: Where the results are.
        kinds: Some of `KINDS`; `SIZED` with `originals` for the size of the original photo.
        keys: Which results; None takes all.
        originals: Finds original photos; needed for `SIZED`.

    Returns:
        The folder `exports`.

    Raises:
        ValueError: If a kind is none, or the originals are needed and not known.
    """
    check_kinds(kinds)
    if SIZED in kinds and originals is None:
        raise ValueError(f"export={SIZED}: it is not known where the photos of {store.folder} are")
    folder = store.folder / "exports"
    chosen = list(store) if keys is None else list(keys)
    records = {key.image_id: store.photo(key) for key in chosen} if "coco" in kinds else {}
    annotations = _Annotations(store.class_names(), records, SIZED in kinds)
    for key in chosen:
        explanation = store.load(key)
        original = originals(key.image_id) if originals and SIZED in kinds else None
        view = _view(store, key, explanation, original)
        stem = file_stem(key)
        if "map_png" in kinds:
            _write_map(folder / "map_png" / f"{stem}.png", view, explanation)
        if "overlay" in kinds:
            _write_png(folder / "overlay" / f"{stem}.png", _overlay(view, explanation))
        if "mask" in kinds:
            _write_png(folder / "mask" / f"{stem}.png", view.region.astype(np.uint8) * 255)
        if "npz" in kinds:
            _write_npz(folder / "npz" / f"{stem}.npz", store, key, view, explanation)
        if "coco" in kinds:
            annotations.add(key, view)
    if "coco" in kinds:
        write_json(folder / "coco.json", annotations.plain())
    return folder


def _view(
    store: ResultsStore, key: Key, explanation: Explanation, original: Original | None
) -> _View:
    """The result as it was explained, or put back into its original photo."""
    saliency = explanation.saliency[0].numpy().astype(np.float32)
    region = explanation.region[0].numpy()
    if original is None:
        image = (store.sample(key).image * 255).round().byte().permute(1, 2, 0).numpy()
        return _View(image, saliency, region)
    width, height = original.photo.size
    # The centre of every pixel of the photo, in pixels of the map.
    left, top, right, bottom = original.rectangle
    x = (np.arange(width) + 0.5 - left) * saliency.shape[1] / (right - left)
    y = (np.arange(height) + 0.5 - top) * saliency.shape[0] / (bottom - top)
    inside = np.outer((y >= 0) & (y < saliency.shape[0]), (x >= 0) & (x < saliency.shape[1]))
    values = _bilinear(saliency, y, x).astype(np.float32)
    values[~inside] = np.nan
    with np.errstate(invalid="ignore"):
        enlarged = (values > explanation.threshold) & np.isfinite(values)
    return _View(np.asarray(original.photo, dtype=np.uint8), values, enlarged)


def _bilinear(
    values: NDArray[np.float32], y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values between the centres of pixels; beyond the outermost centres those at the edge."""

    def between(at: NDArray[np.float64], count: int) -> tuple[Any, Any, Any]:
        place = np.clip(at - 0.5, 0, count - 1)
        low = np.floor(place).astype(int)
        return low, np.minimum(low + 1, count - 1), place - low

    (y0, y1, v), (x0, x1, u) = between(y, values.shape[0]), between(x, values.shape[1])
    upper = values[np.ix_(y0, x0)] * (1 - u) + values[np.ix_(y0, x1)] * u
    lower = values[np.ix_(y1, x0)] * (1 - u) + values[np.ix_(y1, x1)] * u
    mixed: NDArray[np.float64] = upper * (1 - v)[:, None] + lower * v[:, None]
    return mixed


def _write_map(path: Path, view: _View, explanation: Explanation) -> None:
    scale = map_scale(explanation)
    finite = view.saliency[np.isfinite(view.saliency)]
    low, high = (0.0, 1.0) if scale.kind == "probability" else (
        float(finite.min(initial=math.inf)), float(finite.max(initial=-math.inf))
    )  # fmt: skip
    if not low < high:
        low, high = (low, low + 1.0) if finite.size else (0.0, 1.0)
    share = np.nan_to_num((view.saliency.astype(np.float64) - low) / (high - low))
    grey = np.round(np.clip(share, 0, 1) * 65535).astype(np.uint16)
    about = PngImagePlugin.PngInfo()
    for name, value in (("low", low), ("high", high), ("threshold", explanation.threshold)):
        about.add_text(name, repr(value))
    _write_png(path, grey, about)


def _overlay(view: _View, explanation: Explanation) -> NDArray[np.uint8]:
    """Colours over the explained part; the rest of the photo is grey."""
    scale = map_scale(explanation)
    share = np.clip((view.saliency - scale.low) / (scale.high - scale.low), 0, 1)
    known = np.isfinite(view.saliency)[..., None]
    colours = colormaps[scale.colours](np.nan_to_num(share))[..., :3] * 255
    grey = view.photo.mean(2, keepdims=True)
    mixed = np.where(known, OPACITY * colours + (1 - OPACITY) * view.photo, grey)
    pixels: NDArray[np.uint8] = np.round(mixed).astype(np.uint8)
    return pixels


def _write_npz(
    path: Path, store: ResultsStore, key: Key, view: _View, explanation: Explanation
) -> None:
    arrays: dict[str, Any] = {
        "saliency": view.saliency,
        "region": view.region,
        "photo": view.photo,
        "threshold": explanation.threshold,
        "target": explanation.target,
    }
    edit, boxes = store.edit(key), store.sample(key).boxes
    if edit is not None:
        for name, image in (("kept", edit.kept), ("removed", edit.removed)):
            arrays[name] = (image * 255).round().byte().permute(1, 2, 0).numpy()
        arrays["probabilities"] = edit.probabilities.numpy()
    if explanation.counterfactual is not None:
        arrays["counterfactual"] = explanation.counterfactual.permute(1, 2, 0).numpy()
    if boxes is not None:
        arrays["boxes"] = boxes.numpy()
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _write_png(path: Path, pixels: NDArray[Any], about: Any = None) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="png", pnginfo=about)


def _file_names(records: Mapping[str, PhotoRecord | None]) -> dict[str, str]:
    """Image id to the photo's file, seen from the folder that all photos are in."""
    files = {
        image_id: Path(record.path)
        for image_id, record in records.items()
        if record is not None and Path(record.path).is_absolute()
    }
    if not files:
        return {}
    root = os.path.commonpath([file.parent for file in files.values()])
    return {image_id: file.relative_to(root).as_posix() for image_id, file in files.items()}


class _Annotations:
    """The content of a COCO file, result by result.

    Args:
        class_names: Name of every class.
        records: Image id to what is known of its photo.
        sized: Whether the regions are at the size of the original photos.
    """

    def __init__(
        self, class_names: Sequence[str], records: Mapping[str, PhotoRecord | None], sized: bool
    ) -> None:
        self.class_names = class_names
        self.records = records
        self.sized = sized
        self.names = _file_names(records)
        self.images: dict[str, dict[str, Any]] = {}
        self.regions: list[dict[str, Any]] = []

    def add(self, key: Key, view: _View) -> None:
        """Add the region of a result."""
        height, width = view.region.shape
        image = self.images.setdefault(
            key.image_id,
            {
                "id": len(self.images) + 1,
                "file_name": self.names.get(key.image_id, key.image_id),
                "height": height,
                "width": width,
                **self._crop(key.image_id),
            },
        )
        rows, columns = (np.flatnonzero(view.region.any(axis)) for axis in (1, 0))
        box = [0, 0, 0, 0]
        if len(rows):
            sides = (columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
            box = [int(value) for value in (columns[0], rows[0], *sides)]
        self.regions.append(
            {
                "id": len(self.regions) + 1,
                "image_id": image["id"],
                "category_id": key.target,
                "segmentation": {"size": [height, width], "counts": encode(view.region)},
                "area": int(view.region.sum()),
                "bbox": box,
                "iscrowd": 0,
                "seed": key.seed,
            }
        )

    def _crop(self, image_id: str) -> dict[str, Any]:
        record = self.records.get(image_id)
        return {} if self.sized or record is None else {"crop": list(record.crop)}

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        used = sorted({region["category_id"] for region in self.regions})
        known = len(self.class_names)
        names = {i: self.class_names[i] if i < known else f"class {i}" for i in used}
        return {
            "images": list(self.images.values()),
            "annotations": self.regions,
            "categories": [{"id": i, "name": name} for i, name in names.items()],
        }
