"""The ResNet-50 that the authors of Places365 trained, from their checkpoint."""

from __future__ import annotations

from pathlib import Path

from torchvision.models import resnet50

from fido.classifiers.base import Classifier
from fido.classifiers.state import load_state, read_state

CLASSES = 365


def places365_resnet50(
    weights: str, categories: str, precision: str = "float32", channels_last: bool = True
) -> Classifier:
    """ResNet-50 for 365 scenes, at 224 pixels.

    The checkpoint is read without running code from it. Its tensors carry the prefix "module." of
    the data-parallel training, and it is older than the batch counters of batch normalisation,
    which evaluation does not use.

    Args:
        weights: Path of `resnet50_places365.pth.tar`.
        categories: Path of `categories_places365.txt`: a line a class, "/a/airfield 0".
        precision: See `Classifier`.
        channels_last: See `Classifier`.

    Raises:
        FileNotFoundError: If a file is not there; names the file, the project and the place.
        ValueError: If a file holds something else.

    Source: preprocessing as in the project's demo, 256 pixels the short side and ImageNet's mean
    and deviation.
    """
    checkpoint = _file("weights", weights, "resnet50_places365.pth.tar")
    names = _category_names(_file("categories", categories, "categories_places365.txt"))
    network = resnet50(num_classes=CLASSES)
    load_state(network, read_state(checkpoint), source=weights)
    return Classifier(
        network,
        size=224,
        class_names=names,
        crop_fraction=224 / 256,
        precision=precision,
        channels_last=channels_last,
    )


def _file(argument: str, path: str, name: str) -> Path:
    """Return the path of a file that the user has to get."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(
            f"classifier.{argument}={path}: no such file; get {name} of the project Places365 "
            f"(github.com/CSAILVision/places365) and place it there, or give its place as "
            f"classifier.{argument}=FILE"
        )
    return file


def _category_names(path: Path) -> list[str]:
    """Return the name of every class, in index order."""
    names: dict[int, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if len(words) != 2 or not words[1].isdigit():
            raise ValueError(f"{path}, line {number}: expected a class and its index, got {line!r}")
        names[int(words[1])] = words[0].lstrip("/").partition("/")[2]  # "/a/airfield"
    if sorted(names) != list(range(CLASSES)):
        raise ValueError(f"{path}: expected classes 0 to {CLASSES - 1}, got {len(names)} classes")
    return [names[index] for index in range(CLASSES)]
