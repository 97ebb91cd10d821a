"""Photos with classes, made ready for training a class-conditional network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fido.data.base import PhotoSource
from fido.training.data import RandomCrops, cached_photos, centre_crops, split_by_name
from fido.training.photo_labels import photo_labels


class LabelledImages(NamedTuple):
    """A batch with its classes.

    Attributes:
        images: (n, 3, h, w) float32 RGB in [0, 1].
        classes: (n,) int64 class indices; -1 where an image has none.
    """

    images: Tensor
    classes: Tensor


class ConditionalPhotos:
    """Batches of random crops with their classes, and photos held out for validation.

    Of the source only its list of files is used: photos are decoded as squares of `image_size`,
    once, and random crops are taken of these. Batch k is a function of (seed, k).

    Args:
        source: Where the photos are.
        labels: Where a photo's label comes from; see `photo_labels`.
        image_size: Side of the decoded squares in pixels.
        cache: Folder of the decoded photos.
        crop: Side of the crops in pixels.
        batch_size: Crops a batch.
        class_names: Labels that are classes, in the order of their indices; None takes all with at
            least `class_minimum` photos, sorted. Photos of other labels have no class.
        class_minimum: See `class_names`.
        held_out: Photos for validation, chosen by the hash of their names among those that have a
            class (all, if there are no classes); None is a tenth of them, 1 to 400.
        validate_on: At most so many of them are used.
        seed: Seed of orders, places and mirrorings.

    Attributes:
        classes: Labels of the classes, by index.
        validation_images: Centre crops of held-out photos with their classes.
        held_out_names: Names of all held-out photos, relative to the source's folder.
        epoch: Steps of one pass over the training photos.

    Raises:
        ValueError: If a named class has no photo, or see `split_by_name` and `RandomCrops`.
        OSError: If the CSV file cannot be read.
    """

    def __init__(
        self,
        source: PhotoSource,
        labels: str | None,
        image_size: int,
        cache: Path | str,
        crop: int,
        batch_size: int,
        class_names: Sequence[str] | None = None,
        class_minimum: int = 100,
        held_out: int | None = None,
        validate_on: int = 256,
        seed: int = 0,
    ) -> None:
        images, names, files = cached_photos(source, image_size, cache)
        found = photo_labels(files, labels)
        counts = Counter(label for label in found if label is not None)
        if class_names is None:
            class_names = sorted(label for label, n in counts.items() if n >= class_minimum)
        missing = [name for name in class_names if name not in counts]
        if missing:
            raise ValueError(f"photos.class_names: no photo has the label {missing[0]!r}")
        self.classes = list(class_names)
        index = {name: position for position, name in enumerate(self.classes)}
        classes = np.array([-1 if label is None else index.get(label, -1) for label in found])
        eligible = [i for i in range(len(names)) if classes[i] >= 0] or list(range(len(names)))
        if held_out is None:
            held_out = min(400, max(1, len(eligible) // 10))
        if held_out < 1 or validate_on < 1:
            raise ValueError("photos.held_out and photos.validate_on must be 1 or more")
        _, positions = split_by_name([names[i] for i in eligible], held_out)
        validation = [eligible[i] for i in positions]
        self.held_out_names = [names[i] for i in validation]
        training = sorted(set(range(len(names))) - set(validation))
        shown = validation
        if validate_on < len(validation):
            # By hash, too: the first names would all be of one class.
            shown = [validation[i] for i in split_by_name(self.held_out_names, validate_on)[1]]
        self.validation_images = LabelledImages(
            centre_crops(images, shown, crop), torch.from_numpy(classes[shown])
        )
        self.epoch = max(1, len(training) // batch_size)
        self._classes = torch.from_numpy(classes)
        self._crops = _KnownCrops(images, training, crop, batch_size, seed)

    def inputs(self) -> dict[str, Any]:
        """What the training takes: batches and validation photos, with their classes."""
        return {"batches": self.batch, "validation_images": self.validation_images}

    def batch(self, step: int) -> LabelledImages:
        """Batch number `step`."""
        return LabelledImages(self._crops.batch(step), self._classes[self._crops.shown(step)])


class _KnownCrops(RandomCrops):
    """Random crops of which it is known which images they are of."""

    def shown(self, step: int) -> np.ndarray:
        """(batch_size,) positions of the images of batch `step`."""
        n = len(self.positions)
        first = step * self.batch_size
        wanted = range(first, first + self.batch_size)
        orders = {epoch: self._order(epoch) for epoch in {place // n for place in wanted}}
        return self.positions[[orders[place // n][place % n] for place in wanted]]
