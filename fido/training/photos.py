"""Photos for the training of infillers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fido.data.base import PhotoSource
from fido.training.data import InTurn, RandomCrops, cached_photos, centre_crops, split_by_name


class TrainingPhotos:
    """Batches of random crops, and photos held out for validation.

    Of the source only its list of files is used: photos are decoded as squares of `image_size`,
    once, and random crops are taken of these.

    Args:
        source: Where the photos are.
        image_size: Side of the decoded squares in pixels.
        cache: Folder of the decoded photos.
        crops: (side in pixels, batch size) of the kinds of batches that take turns.
        held_out: Photos for validation, chosen by the hash of their names; None is a tenth of
            them, 1 to 400.
        validate_on: At most so many of them are used.
        seed: Seed of orders, places and mirrorings.

    Attributes:
        validation_images: (n, 3, image_size, image_size) in [0, 1].
        epoch: Steps of one pass over the training photos.

    Raises:
        ValueError: See `split_by_name` and `RandomCrops`.
    """

    def __init__(
        self,
        source: PhotoSource,
        image_size: int,
        cache: Path | str,
        crops: Sequence[tuple[int, int]],
        held_out: int | None = None,
        validate_on: int = 64,
        seed: int = 0,
    ) -> None:
        images, names, _ = cached_photos(source, image_size, cache)
        if held_out is None:
            held_out = min(400, max(1, len(names) // 10))
        training, validation = split_by_name(names, held_out)
        self.validation_images: Tensor = centre_crops(images, validation[:validate_on], image_size)
        self.epoch = max(1, len(training) * len(crops) // sum(batch for _, batch in crops))
        # A seed each: streams in turn should not show the same photos at the same time.
        self._stream = InTurn(
            [
                RandomCrops(images, training, side, batch, seed + index)
                for index, (side, batch) in enumerate(crops)
            ]
        )

    classes: Sequence[str] = ()
    """No network of these trainings tells classes apart."""

    def batch(self, step: int) -> Tensor:
        """(n, 3, side, side) float32 RGB in [0, 1]: batch number `step`."""
        return self._stream.batch(step)

    def inputs(self) -> dict[str, Any]:
        """What a training of an infiller takes: batches and validation photos."""
        return {"batches": self.batch, "validation_images": self.validation_images}
