"""Photos that ship inside scikit-image and scikit-learn: something to explain on any machine."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fido.data.base import Entry, PhotoSource

# File inside its package, and the ImageNet class where one names what the photo shows.
PHOTOS = {
    "coffee": ("skimage", "data/coffee.png", 967),  # espresso
    "chelsea": ("skimage", "data/chelsea.png", None),  # a cat; ImageNet wants a breed
    "motorcycle": ("skimage", "data/motorcycle_left.png", None),  # ImageNet has mopeds only
    "china": ("sklearn", "datasets/images/china.jpg", 698),  # palace
    "flower": ("sklearn", "datasets/images/flower.jpg", 985),  # daisy
}


class SamplePhotos(PhotoSource):
    """Five photos: a cup of coffee, a cat, a motorcycle, a Chinese palace, a flower."""

    def entries(self) -> list[Entry]:
        """See `PhotoSource.entries`."""
        entries = []
        for name, (package, file, label) in PHOTOS.items():
            spec = find_spec(package)
            if spec is None or spec.origin is None:
                raise FileNotFoundError(f"photo {name!r} ships inside {package}, not installed")
            entries.append(Entry(name, Path(spec.origin).parent / file, label))
        return entries
