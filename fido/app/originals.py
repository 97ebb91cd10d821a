"""The original photos of a run, for exports at their size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf

from fido.app.instantiate import build, build_classifier
from fido.data.base import PhotoSource
from fido.report.exports import Original, Originals
from fido.runs.store import ResultsStore
from fido.runs.sweep import hydra_records


def originals_of(source: PhotoSource) -> Originals:
    """Finds photos in a source.

    Raises:
        ValueError: When called with an id that the source does not have.
    """
    entries = {entry.id: entry for entry in source.entries()}

    def find(image_id: str) -> Original:
        if image_id not in entries:
            raise ValueError(f"export=original_size: the photos given hold no {image_id!r}")
        photo = source.open(entries[image_id])
        return Original(photo, source.geometry.rectangle(*photo.size))

    return find


def originals_of_store(store: ResultsStore) -> Originals:
    """Finds the photos of a run of the past by the configuration that Hydra noted.

    Raises:
        ValueError: If the folder holds no such note.
        FileNotFoundError: If the photos are no longer there.
    """
    records = hydra_records(store.folder)
    if not records or not (records[0] / "config.yaml").is_file():
        raise ValueError(
            f"export=original_size: {store.folder} does not say where its photos are (.hydra)"
        )
    config = OmegaConf.load(records[0] / "config.yaml")
    hydra = yaml.safe_load((records[0] / "hydra.yaml").read_text(encoding="utf-8"))
    classifier = build_classifier(config.classifier, torch.device("cpu"))
    with working_in(Path(hydra["hydra"]["runtime"]["cwd"])):
        source: PhotoSource = build(
            config.data,
            size=classifier.size,
            crop_fraction=classifier.crop_fraction,
            interpolation=classifier.interpolation,
        )
        find = originals_of(source)

    def found(image_id: str) -> Original:
        with working_in(Path(hydra["hydra"]["runtime"]["cwd"])):
            return find(image_id)

    return found


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Relative paths of a run begin where its command was given, if that folder is still there."""
    before = os.getcwd()
    if folder.is_dir():
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
