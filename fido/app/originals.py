"""The original photos of a run, for exports at their size."""

from __future__ import annotations

from pathlib import Path

from fido.data.base import PhotoSource
from fido.data.photo import open_photo
from fido.report.exports import Original, Originals
from fido.runs.store import ResultsStore
from fido.runtime.digests import file_digest


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
    """Finds the photos of a run of the past by what its results say of them.

    Nothing is built from the run's settings, which may be somebody else's.

    Raises:
        ValueError: When called with an image that came from no file, or whose file is another now.
        FileNotFoundError: When called with an image whose file is no longer there.
    """
    keys = store.by_image()

    def find(image_id: str) -> Original:
        record = store.photo(keys[image_id][0]) if image_id in keys else None
        if record is None or not Path(record.path).is_absolute():
            raise ValueError(
                f"export=original_size: {store.folder} does not say which file {image_id!r} is of"
            )
        path = Path(record.path)
        if not path.is_file():
            raise FileNotFoundError(f"export=original_size: {image_id!r} was {path}, not there now")
        if file_digest(path) != record.sha256:
            raise ValueError(f"export=original_size: {path} is another photo than was explained")
        return Original(open_photo(path), record.crop)

    return find
