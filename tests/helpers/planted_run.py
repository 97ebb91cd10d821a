"""What runs over planted photos are tested with: a source and an observer."""

import os

import numpy as np
from PIL import Image
from planted import BOX

from fido.data.base import Entry, PhotoSource


class Planted(PhotoSource):
    """Bright-box photos on disk; those named dark have no bright box, broken ones are no images."""

    def __init__(self, folder, names, **arguments):
        super().__init__(size=(40, 48), crop_fraction=1.0, **arguments)
        self.folder, self.names = folder, names
        left, top, right, bottom = BOX
        for name in names:
            pixels = np.full((40, 48, 3), 50, np.uint8)
            if "dark" not in name:
                pixels[top:bottom, left:right] = 230
            if "broken" in name:
                (folder / f"{name}.png").write_bytes(b"no image")
            else:  # whole at once: another process may read it now
                part = folder / f".{name}.{os.getpid()}.png"
                Image.fromarray(pixels).save(part)
                part.replace(folder / f"{name}.png")

    def entries(self):
        return [Entry(name, self.folder / f"{name}.png", label=1) for name in self.names]


class Notes:
    """An observer that writes down what it hears."""

    def __init__(self):
        self.begun, self.results, self.others = [], [], []

    def begin(self, done, to_do):
        self.begun.append((done, to_do))

    def result(self, result):
        self.results.append(result.row["id"])

    def skipped(self, row):
        self.others.append((row["id"], row["status"]))
