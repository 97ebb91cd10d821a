"""Accuracy and calibration of the shipped ten-class networks on photos that they never saw.

    python benchmarks/natural10.py PHOTOS

PHOTOS is a folder of files of ImageNet's training set named by class, as n01440764_10026.JPEG;
those that `train.py model=classifier photos.held_out=1000` holds out are measured.
EfficientNet-Lite0, with its logits of the ten classes alone, was trained on all of them: it is no
competitor, but says how far the other agrees with it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from timm.data.imagenet_info import ImageNetInfo
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_calibration_error

from fido.classifiers.base import Classifier
from fido.classifiers.efficientnet_lite import efficientnet_lite
from fido.classifiers.natural10 import (
    IMAGENET_INDICES,
    natural10_names,
    natural10_resnet,
    natural10_vit,
)
from fido.data.folder import FolderPhotos
from fido.training.data import split_by_name

BATCH = 25


def held_out_photos(folder: Path, number: int) -> tuple[list[str], Tensor]:
    """Ids of the held-out photos and their classes, 0 to 9."""
    wnids = ImageNetInfo().label_names()
    index_of = {wnids[index]: label for label, index in enumerate(IMAGENET_INDICES)}
    files = sorted(f for wnid in index_of for f in folder.glob(f"{wnid}_*"))
    _, positions = split_by_name([file.name for file in files], number)
    labels = [index_of[files[i].name.partition("_")[0]] for i in positions]
    return [files[i].stem for i in positions], torch.tensor(labels)


def logits_of(classifier: Classifier, folder: Path, ids: list[str]) -> tuple[Tensor, float]:
    """(n, classes) logits, and milliseconds an image in batches of 25."""
    source = FolderPhotos(
        path=str(folder),
        size=classifier.size,
        crop_fraction=classifier.crop_fraction,
        interpolation=classifier.interpolation,
        ids=ids,
    )
    entries, parts, seconds = source.selected(), [], 0.0
    for start in range(0, len(entries), BATCH):
        images = torch.stack([source.load(entry).image for entry in entries[start : start + BATCH]])
        begun = time.perf_counter()
        with torch.no_grad():
            parts.append(classifier(images))
        seconds += time.perf_counter() - begun
    return torch.cat(parts), 1000 * seconds / len(entries)


def measure(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Top-1 accuracy with its standard error, loss in nats, calibration error, mean confidence."""
    probabilities = logits.softmax(1)
    right = (logits.argmax(1) == labels).float()
    return {
        "top1": float(right.mean()),
        "top1_error": float(right.std() / len(labels) ** 0.5),
        "loss": float(cross_entropy(logits, labels)),
        "ece": float(multiclass_calibration_error(probabilities, labels, 10, n_bins=15)),
        "confidence": float(probabilities.amax(1).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--held-out", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="also write everything here")
    options = parser.parse_args()
    ids, labels = held_out_photos(options.photos, options.held_out)
    ten = torch.tensor(IMAGENET_INDICES)
    builders = {
        "natural10_resnet": natural10_resnet,
        "natural10_vit": natural10_vit,
        "efficientnet_lite0": efficientnet_lite,
    }
    results, choices = {}, {}
    for name, build in builders.items():
        logits, milliseconds = logits_of(build(), options.photos, ids)
        logits = logits if logits.shape[1] == len(ten) else logits[:, ten]
        choices[name] = logits.argmax(1)
        right = (choices[name] == labels).float()
        classes = {
            name: float(right[labels == k].mean()) for k, name in enumerate(natural10_names())
        }
        results[name] = {**measure(logits, labels), "ms": milliseconds, "classes": classes}
    for name, found in results.items():
        found["agreement"] = {
            other: float((choices[name] == choices[other]).float().mean()) for other in builders
        }
    print(f"{len(labels)} held-out photos")
    print(f"{'':20}{'top-1':>14}{'loss':>8}{'ECE':>8}{'confidence':>12}{'ms':>7}")
    for name, x in results.items():
        top1 = f"{x['top1']:.3f} +- {x['top1_error']:.3f}"
        numbers = f"{x['loss']:8.3f}{x['ece']:8.3f}{x['confidence']:12.3f}{x['ms']:7.1f}"
        print(f"{name:20}{top1:>14}{numbers}")
    for name, x in results.items():
        print(name, *(f"{k} {v:.2f}" for k, v in x["classes"].items()), sep=", ")
        print("  agrees with", *(f"{k} {v:.3f}" for k, v in x["agreement"].items() if k != name))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
