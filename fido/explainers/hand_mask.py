"""A mask that somebody has drawn, in the place of a map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from torch import Tensor

from fido.classifiers.base import Classifier
from fido.data.geometry import Geometry
from fido.data.photo import UnreadableImageError, open_photo
from fido.diffusion.regions.base import NoRegionError
from fido.diffusion.regions.earlier import EarlierResults, Results
from fido.explainers.base import target_of
from fido.records import Explanation, Sample
from fido.runtime.checks import check_choice


class HandMask:
    """Return 1 where a picture is white, 0 elsewhere, alone or combined with a stored region.

    What a run then measures of it is what a method's map would get: the class probability with
    only the mask kept, and with the mask infilled. "FIDO-CA without the head" is the region of a
    run of FIDO minus a mask of the head.

    Args:
        classifier: The run's; says how photos are cut to its size.
        file: A picture for all images, or a folder with one called "<image id>.png" for each. One
            of the classifier's size is taken as it is, any other is cut as the photo is; a pixel
            above one half is in the mask.
        folder: Of a run that explained the same images; None takes the mask alone.
        combine: "minus" is the run's region without the mask, "and" where both are, "or" where
            either is.
        resize: How the data source resizes photos; see `fido.data.geometry.Geometry`.
        target: Class of the run's result; None takes an image's only class.
        seed: Seed of the run's result; None takes an image's only one.
        store: Opens the folder of a run.

    Raises:
        FileNotFoundError: If there is no file, or the run left no results.
        ValueError: If an argument is not one of these.

    Source: Chang et al. 2019, Figs. 4 and 16 (parts of the object masked by hand).
    """

    def __init__(
        self,
        classifier: Classifier,
        file: str | None,
        folder: str | None = None,
        combine: Literal["minus", "and", "or"] = "minus",
        resize: str = "keep_aspect",
        target: int | None = None,
        seed: int | None = None,
        store: Callable[[str], Results] | None = None,
    ) -> None:
        check_choice(("minus", "and", "or"), "mask", combine=combine)
        if file is None:
            raise FileNotFoundError(
                "explainer=hand_mask needs a picture that is white where the mask is: "
                "mask.file=FILE.png, or a folder of <image id>.png"
            )
        self.path = Path(file).expanduser()
        if not self.path.exists():
            raise FileNotFoundError(f"mask.file={self.path}: no such file or folder")
        self.combine = combine
        crop, interpolation = classifier.crop_fraction, classifier.interpolation
        self.geometry = Geometry(classifier.size, resize, crop, interpolation)
        self.results: EarlierResults | None = None
        if folder is not None:
            if store is None:
                raise ValueError(f"mask.folder={folder}: say how a run is opened, by store")
            self.results = EarlierResults(store, folder, target, seed, option="mask")

    def explain(self, samples: Sequence[Sample]) -> list[Explanation]:
        """See `Explainer.explain`; uses no network."""
        return [self._explain(sample) for sample in samples]

    def _explain(self, sample: Sample) -> Explanation:
        saliency, failure = sample.image.new_zeros(1, *sample.image.shape[-2:]), None
        try:
            saliency = self._region(sample).float()
        except (UnreadableImageError, NoRegionError) as error:
            failure = str(error)
        return Explanation(
            id=sample.id,
            target=target_of(sample),
            saliency=saliency,
            cost={"forward": 0, "backward": 0, "infill": 0},
            failure=failure,
        )

    def _region(self, sample: Sample) -> Tensor:
        """(1, h, w) bool."""
        drawn = self.drawn(sample)
        if self.results is None:
            return drawn
        region = self.results.of(sample).region
        if self.combine == "minus":
            return region & ~drawn
        return region & drawn if self.combine == "and" else region | drawn

    def drawn(self, sample: Sample) -> Tensor:
        """(1, h, w) bool: the picture's mask for an image.

        Raises:
            UnreadableImageError: If there is no picture for it, or it cannot be read.
        """
        path = self.path / f"{sample.id}.png" if self.path.is_dir() else self.path
        picture = open_photo(path)
        h, w = sample.image.shape[-2:]
        fits = picture.size == (w, h)
        geometry = Geometry((h, w), "squash") if fits else self.geometry
        return geometry.image(picture).mean(0, keepdim=True) > 0.5


def not_learned(*_: Any, **__: Any) -> NoReturn:
    """Tell a method that learns its mask that `mask=file` is none to learn.

    Raises:
        ValueError: Always.
    """
    raise ValueError(
        "mask=file is a drawn mask, for explainer=hand_mask; methods that learn one take "
        "mask=concrete"
    )
