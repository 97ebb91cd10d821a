"""The explanations of several stores by image, from one look into each folder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from fido.records import Explanation, Key, Sample
from fido.runs.result_file import ResultFile
from fido.runs.store import ResultsStore


class StoredExplanations:
    """Which images stores explain, and the explanations.

    The folders are listed once, because listing them for every image would take time that grows
    with the square of their number: see `add` and `refresh`.

    Args:
        stores: Row name to store.
    """

    def __init__(self, stores: Mapping[str, ResultsStore]) -> None:
        self.stores = stores
        self._image = ""  # whose files are held
        self._files: dict[tuple[str, Key], ResultFile] = {}

    @cached_property
    def _keys(self) -> dict[str, dict[str, list[Key]]]:
        return {name: store.by_image() for name, store in self.stores.items()}

    def refresh(self) -> None:
        """Have the folders listed again."""
        self.__dict__.pop("_keys", None)
        self._files = {}

    def add(self, name: str, key: Key) -> None:
        """Note a result that was saved after the last look."""
        self._files.pop((name, key), None)
        keys = self._keys[name].setdefault(key.image_id, [])
        if key not in keys:
            keys.append(key)
            keys.sort()

    def images(self, name: str) -> set[str]:
        """Ids of the images that a store explains."""
        return set(self._keys[name])

    def keys(self, name: str, image_id: str) -> list[Key]:
        """Keys of a store's results of an image, by target and seed."""
        return self._keys[name].get(image_id, [])

    def load(self, name: str, image_id: str) -> list[Explanation]:
        """A store's explanations of an image, by target and seed."""
        return [self._file(name, key).explanation() for key in self.keys(name, image_id)]

    def sample(self, name: str, image_id: str) -> Sample:
        """What a store explains; of several targets the first.

        Raises:
            KeyError: If the store does not hold the image.
        """
        keys = self.keys(name, image_id)
        if not keys:
            raise KeyError(f"no explanation of {image_id!r} in {self.stores[name].folder}")
        return self._file(name, keys[0]).sample()

    def _file(self, name: str, key: Key) -> ResultFile:
        """The file of a result; those of one image are opened once for all that is asked of it."""
        if key.image_id != self._image:
            self._image, self._files = key.image_id, {}
        if (name, key) not in self._files:
            self._files[name, key] = self.stores[name].file(key)
        return self._files[name, key]
