"""A source of photos with class names, made ready for training a classifier."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fido.data.base import PhotoSource
from fido.runtime.noise import image_seed
from fido.training.augmentation import RandomViews, resized
from fido.training.data import cached_files, split_by_name
from fido.training.photo_labels import RULES, photo_labels


class LabelledPhotos:
    """Batches of random views with their classes, and photos held out for validation.

    Of the source only its list of files is used: photos are decoded as squares of `image_size`,
    once, and views are taken of these.

    Args:
        source: Where the photos are.
        labels: Where their classes are; see `photo_labels`.
        classes: Class names in the order of the network's outputs; photos of others are left out.
            None takes all that there are, sorted.
        image_size: Side of the decoded squares in pixels.
        cache: Folder of the decoded photos.
        views: Random views of a batch's photos; whole photos of their side are validated on.
        batch_size: Views a batch.
        held_out: Photos for validation, chosen by the hash of their names; None is a tenth of
            them, 1 to 1,000.
        seed: Seed of orders and views.

    Attributes:
        classes: Class names in the order of the outputs.
        names: Of all photos, relative to the folder that has them all.
        held_out: Positions in `names` of the validation photos.
        epoch: Steps of one pass over the training photos.

    Raises:
        ValueError: If there are fewer than two classes, a class has no photo to train on, or see
            `photo_labels` and `split_by_name`.
    """

    def __init__(
        self,
        source: PhotoSource,
        labels: str,
        image_size: int,
        cache: Path | str,
        views: RandomViews,
        batch_size: int,
        classes: Sequence[str] | None = None,
        held_out: int | None = None,
        seed: int = 0,
    ) -> None:
        files = [entry.path for entry in source.selected()]
        known = photo_labels(files, labels)
        found = sorted({name for name in known if name is not None})
        self.classes = list(classes) if classes is not None else found
        _check(self.classes, found, labels)
        index_of = {name: index for index, name in enumerate(self.classes)}
        taken = [(f, index_of[n]) for f, n in zip(files, known, strict=True) if n in index_of]
        files = [file for file, _ in taken]
        root = Path(os.path.commonpath([file.parent for file in files]))
        self.images, self.names = cached_files(
            files, root, image_size, cache, source.range, source.on_error
        )
        label_of = dict(taken)
        self.labels = torch.tensor([label_of[root / name] for name in self.names])
        if held_out is None:
            held_out = min(1000, max(1, len(self.names) // 10))
        training, self.held_out = split_by_name(self.names, held_out)
        self.training = np.asarray(training)
        absent = sorted(set(range(len(self.classes))) - set(self.labels[self.training].tolist()))
        if absent:
            raise ValueError(
                f"no photo of class {self.classes[absent[0]]!r} is left to train on, "
                f"{held_out} of {len(self.names)} are held out; give more photos of it, or fewer "
                "photos.held_out"
            )
        self.views = views
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = max(1, len(training) // batch_size)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Batch number `step`, a function of (seed, step) alone.

        Returns:
            (batch_size, 3, side, side) float32 RGB in [0, 1] and (batch_size,) class indices.
        """
        n = len(self.training)
        wanted = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        orders = {epoch: self._order(epoch) for epoch in np.unique(wanted // n).tolist()}
        positions = self.training[[orders[index // n][index % n] for index in wanted]]
        draw = np.random.default_rng(image_seed(self.seed, str(step), "views"))
        return self.views(self.images[positions], draw), self.labels[positions]

    def validation(self) -> tuple[Tensor, Tensor]:
        """(n, 3, side, side) float32 RGB in [0, 1], whole photos, and (n,) class indices."""
        photos = torch.from_numpy(self.images[np.asarray(self.held_out)]).permute(0, 3, 1, 2)
        side = self.views.side
        images = [resized(photos[i : i + 64], side) for i in range(0, len(photos), 64)]
        return torch.cat(images), self.labels[self.held_out]

    def inputs(self) -> dict[str, Any]:
        """What the training takes: batches, validation photos, the names of the classes."""
        images, labels = self.validation()
        return {
            "batches": self.batch,
            "validation_images": images,
            "validation_labels": labels,
            "classes": self.classes,
        }

    def _order(self, epoch: int) -> np.ndarray:
        draw = np.random.default_rng(image_seed(self.seed, str(epoch), "order"))
        return draw.permutation(len(self.training))


def _check(classes: Sequence[str], found: Sequence[str], labels: str) -> None:
    shown = ", ".join(found[:5]) if found else "none"
    missing = [name for name in classes if name not in found]
    if missing:
        raise ValueError(f"photos.classes: no photo of class {missing[0]!r}; found: {shown}")
    if len(set(classes)) < len(classes):
        raise ValueError("photos.classes names a class twice")
    if len(classes) < 2:
        raise ValueError(
            f"a classifier needs photos of two classes or more, photos.labels={labels} finds "
            f"{len(found)} ({shown}); photos.labels must be {RULES}"
        )
