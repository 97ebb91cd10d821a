"""Photos for training infillers: decoded once into a file of bytes, then cropped at random.

Batch k is a function of (seed, k) alone, so that a training that was interrupted sees, when it
goes on, the very batches that it would have seen.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fido.data.base import PhotoSource
from fido.data.depth import Range
from fido.data.photo import UnreadableImageError, open_photo
from fido.runtime.files import atomic_path, read_json, write_json
from fido.runtime.noise import image_seed

log = logging.getLogger(__name__)

READER = 2
"""Changed when photos are read otherwise, so that what was decoded before is not used."""


def split_by_name(names: Sequence[str], held_out: int) -> tuple[list[int], list[int]]:
    """Split positions into training and validation: the `held_out` names of smallest sha256.

    The split does not depend on the order of `names`, and hardly on the other names.

    Raises:
        ValueError: If nothing would be left to train on.
    """
    if not 0 <= held_out < len(names):
        raise ValueError(f"held_out must be in 0..{len(names) - 1} for {len(names)} images")
    by_hash = sorted(range(len(names)), key=lambda i: _hash(names[i]))
    return sorted(by_hash[held_out:]), sorted(by_hash[:held_out])


def decode(path: Path, size: int, range: Range = "auto") -> np.ndarray:
    """The image as (size, size, 3) uint8 RGB: shorter side resized, centre cropped.

    It is read as for explaining; see `open_photo`. Resizing is bicubic with antialiasing. An image
    that has the size already is not resampled.
    """
    image = open_photo(path, range)
    scale = size / min(image.size)
    if scale != 1:
        width, height = (max(size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = ((side - size) // 2 for side in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def cached_photos(
    source: PhotoSource, size: int, cache: Path | str
) -> tuple[np.ndarray, list[str], list[Path]]:
    """A source's photos as bytes, decoded on the first call only.

    Args:
        source: Says which photos, how deep ones are read, and what is done about unreadable ones.
        size: Side of the stored squares in pixels.
        cache: Folder for the decoded file; see `cached_files`.

    Returns:
        See `cached_files`; and the files that were read, in the same order.
    """
    files = [entry.path for entry in source.selected()]
    root = Path(os.path.commonpath([file.parent for file in files]))
    images, names = cached_files(files, root, size, cache, source.range, source.on_error)
    return images, names, [root / name for name in names]


def cached_files(
    files: Sequence[Path],
    root: Path,
    size: int,
    cache: Path | str,
    range: Range = "auto",
    on_error: str = "stop",
) -> tuple[np.ndarray, list[str]]:
    """Images as bytes, decoded on the first call only.

    Args:
        files: The images, all below `root`.
        root: Folder by which their names are relative.
        size: Side of the stored squares in pixels.
        cache: Folder for the decoded file; a file's name covers the images' names, lengths and
            times, `size` and `range`, so that changed images are decoded again.
        range: See `open_photo`.
        on_error: "stop", or "skip" what cannot be read, which the log counts and names.

    Returns:
        (n, size, size, 3) uint8 memory map, read only, and the names, both in the files' order;
        without the images that were skipped.

    Raises:
        UnreadableImageError: If an image cannot be read and is not to be skipped, or none can.
    """
    cache = Path(cache)
    names = [path.relative_to(root).as_posix() for path in files]
    # Copies may keep times; when a file's entry was last changed they cannot.
    about = [path.stat() for path in files]
    stats = [(one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in about]
    content = json.dumps([READER, str(range), size, names, stats])
    key = _hash(content)[:16]
    target = cache / f"{root.name}-{size}-{key}.npy"
    notes = target.with_suffix(".json")
    if not (target.exists() and notes.exists()):
        unreadable = _decode_all(files, size, range, on_error, target)
        kept = [name for index, name in enumerate(names) if index not in unreadable]
        write_json(notes, {"root": root.name, "size": size, "names": kept})
    kept = read_json(notes)["names"]
    if on_error == "stop" and len(kept) < len(names):  # an earlier call has skipped some
        decode(files[next(i for i, name in enumerate(names) if name not in set(kept))], size, range)
    try:
        images: np.ndarray = np.load(target, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{target} is damaged: remove it, and it is made again ({error})"
        ) from error
    return images[: len(kept)], kept


def _decode_all(
    files: Sequence[Path], size: int, range: Range, on_error: str, target: Path
) -> dict[int, str]:
    """Decode into a file; what was skipped, by its place, leaves empty images at the end."""
    unreadable: dict[int, str] = {}
    with atomic_path(target) as temporary:
        images = np.lib.format.open_memmap(
            temporary, mode="w+", dtype=np.uint8, shape=(len(files), size, size, 3)
        )
        for index, path in enumerate(files):
            try:
                images[index - len(unreadable)] = decode(path, size, range)
            except UnreadableImageError as error:
                if on_error == "stop":
                    raise
                unreadable[index] = str(error)
        images.flush()
        first = next(iter(unreadable.values()), "")
        if len(unreadable) == len(files):
            raise UnreadableImageError(f"none of {len(files)} photos can be read: {first}")
        if unreadable:
            log.warning("%d of %d photos are skipped: %s", len(unreadable), len(files), first)
    return unreadable


class RandomCrops:
    """Endless batches of random square crops, half of them mirrored.

    Every epoch is a new random order of the images; a batch may reach over two epochs.

    Args:
        images: (n, size, size, 3) uint8, for instance from `cached_files`.
        positions: Which images to use.
        crop: Side of the crops in pixels.
        batch_size: Crops a batch.
        seed: Seed of orders, places and mirrorings.

    Raises:
        ValueError: If the crops are larger than the images.
    """

    def __init__(
        self,
        images: np.ndarray,
        positions: Sequence[int],
        crop: int,
        batch_size: int,
        seed: int = 0,
    ) -> None:
        if crop > images.shape[1]:
            raise ValueError(f"crop of {crop} px from images of {images.shape[1]} px")
        self.images = images
        self.positions = np.asarray(positions)
        self.crop = crop
        self.batch_size = batch_size
        self.seed = seed

    def batch(self, step: int) -> Tensor:
        """(batch_size, 3, crop, crop) float32 RGB in [0, 1]: batch number `step`."""
        n = len(self.positions)
        first = step * self.batch_size
        numbers = np.arange(first, first + self.batch_size)
        orders = {epoch: self._order(epoch) for epoch in np.unique(numbers // n).tolist()}
        draw = np.random.default_rng(image_seed(self.seed, str(step), "crops"))
        top, left = draw.integers(0, self.images.shape[1] - self.crop + 1, (2, self.batch_size))
        mirrored = draw.random(self.batch_size) < 0.5
        crops = np.empty((self.batch_size, self.crop, self.crop, 3), np.uint8)
        for row, index in enumerate(numbers):
            image = self.images[self.positions[orders[index // n][index % n]]]
            part = image[top[row] : top[row] + self.crop, left[row] : left[row] + self.crop]
            crops[row] = part[:, ::-1] if mirrored[row] else part
        return to_float(crops)

    def _order(self, epoch: int) -> np.ndarray:
        draw = np.random.default_rng(image_seed(self.seed, str(epoch), "order"))
        return draw.permutation(len(self.positions))


class BatchLoader:
    """The batches of the steps that are left, as a data loader.

    Args:
        batch: From a step to its batch.
        start: First step, above 0 where a training goes on.
        steps: Steps of the whole training.
    """

    def __init__(self, batch: Callable[[int], Tensor], start: int, steps: int) -> None:
        self.batch = batch
        self.start = start
        self.steps = steps

    def __len__(self) -> int:
        """Steps of the whole training: Lightning counts those that were done before, too."""
        return self.steps

    def __iter__(self) -> Iterator[Tensor]:
        return (self.batch(step) for step in range(self.start, self.steps))


class InTurn:
    """Several streams in turn: batch k comes from stream k modulo their number.

    Args:
        streams: For instance crops of different sizes, each size with its own batch size.
    """

    def __init__(self, streams: Sequence[RandomCrops]) -> None:
        self.streams = list(streams)

    def batch(self, step: int) -> Tensor:
        """Batch number `step`, float32 RGB in [0, 1]."""
        turn, which = divmod(step, len(self.streams))
        return self.streams[which].batch(turn)


def centre_crops(images: np.ndarray, positions: Sequence[int], crop: int) -> Tensor:
    """(n, 3, crop, crop) float32 RGB in [0, 1]: the middles of the images, for validation."""
    start = (images.shape[1] - crop) // 2
    parts = images[np.asarray(positions), start : start + crop, start : start + crop]
    return to_float(parts)


def to_float(images: np.ndarray) -> Tensor:
    """(n, h, w, 3) uint8 -> (n, 3, h, w) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def _hash(names: str) -> str:
    """Of names of files, which may hold bytes that are no UTF-8."""
    return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()
