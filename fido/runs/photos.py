"""Results belong to photos, not to what photos are called."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from fido.records import PhotoRecord
from fido.runtime.digests import file_digest

PATIENCE = 2.0
"""Seconds in which a process that has claimed an id is expected to have saved its result."""


class PhotoMismatchError(ValueError):
    """A folder holds results of another photo with the same id."""


def _mismatch(
    folder: Path, image_id: str, there: object, now: object, others: int = 0
) -> PhotoMismatchError:
    more = f", and under {others} more" if others else ""
    return PhotoMismatchError(
        f"{folder} holds an explanation of another photo under the id {image_id!r}{more}: "
        f"{there} there, {now} now. Choose another folder (hydra.run.dir=DIR), or rename the photo"
    )


class PhotoClaims:
    """Which photo an id belongs to, agreed on by processes that write into one store at once.

    Every process appends what it is about to save to one file and then reads what others have
    appended: the first claim of an id holds. A claim without a result, as a process that died may
    leave it, is replaced. With a claim stand the size and the time that the file had, by which it
    is known later without being read, as long as it has not been replaced.

    Args:
        path: The file; hidden, because it is made of no use to anybody else.
        saved: Returns the photo that the store holds results of, by id; None without a result.
    """

    def __init__(self, path: Path, saved: Callable[[str], PhotoRecord | None]) -> None:
        self.path = path
        self.saved = saved
        self._read = 0
        self._claims: dict[str, _Claim] = {}

    def check(self, stored: Mapping[str, str], photos: Iterable[tuple[str, Path]]) -> None:
        """See that photos are those that a store holds results of, as far as it holds any.

        Args:
            stored: Id to the sha256 of the photo that was explained.
            photos: Id and file of what is to be explained; files that are not there are left out.

        Raises:
            PhotoMismatchError: If a file has another content; names the first.
        """
        self._refresh()
        wrong = [
            (image_id, path)
            for image_id, path in photos
            if image_id in stored and not self._same(image_id, path, stored[image_id])
        ]
        if wrong:
            image_id, path = wrong[0]
            there = self.saved(image_id) or f"sha256 {stored[image_id][:12]}"
            now = f"{path.absolute()} (sha256 {file_digest(path)[:12]})"
            raise _mismatch(self.path.parent, image_id, there, now, len(wrong) - 1)

    def claim(self, image_id: str, photo: PhotoRecord) -> None:
        """Make an id this photo's.

        Raises:
            PhotoMismatchError: If it is another one's.
        """
        self._refresh()
        if image_id not in self._claims:
            self._append(image_id, photo, None)
        until = time.monotonic() + PATIENCE
        while (other := self._claims[image_id].sha256) != photo.sha256:
            there = self.saved(image_id)
            if there is not None and there.sha256 != photo.sha256:
                raise _mismatch(self.path.parent, image_id, there, photo)
            if time.monotonic() > until:
                self._append(image_id, photo, other)
                until = time.monotonic() + PATIENCE
            else:
                time.sleep(0.05)
                self._refresh()

    def _same(self, image_id: str, path: Path, sha256: str) -> bool:
        claim = self._claims.get(image_id)
        try:
            if claim is not None and (claim.sha256, claim.stamp) == (sha256, _stamp(path)):
                return True
            return not path.is_file() or file_digest(path) == sha256
        except OSError:  # reading it as an image will say so
            return True

    def _append(self, image_id: str, photo: PhotoRecord, instead_of: str | None) -> None:
        # One write: lines of several processes follow each other. A line break in front, because
        # a full disk may have cut off the line before.
        line = json.dumps([image_id, photo.sha256, instead_of, _stamp(Path(photo.path))])
        place = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            text = f"\n{line}\n".encode()
            if os.write(place, text) < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        finally:
            os.close(place)
        self._refresh()

    def _refresh(self) -> None:
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            claim = _claim_of(line)
            if claim is None:
                continue
            image_id, instead_of, claimed = claim
            there = self._claims.get(image_id)
            if (None if there is None else there.sha256) == instead_of:
                self._claims[image_id] = claimed


class _Claim(NamedTuple):
    sha256: str
    stamp: list[int | str] | None


def _claim_of(line: bytes) -> tuple[str, str | None, _Claim] | None:
    """Id, sha256 of the claim that is replaced, claim; None for a line that holds none."""
    try:
        image_id, digest, instead_of, stamp = json.loads(line)
    except (ValueError, TypeError, RecursionError):  # empty, cut off, or none of ours
        return None
    if not isinstance(image_id, str) or not isinstance(digest, str):
        return None
    return image_id, instead_of, _Claim(digest, stamp)


def _stamp(path: Path) -> list[int | str] | None:
    """What tells a file from its successor without reading it; None for what was made."""
    name = os.fspath(path)
    try:
        about = os.stat(name)
    except OSError:
        return None
    # Copies may keep a file's time and have its size; when its entry was last changed they cannot.
    return [os.path.join(os.getcwd(), name), about.st_size, about.st_mtime_ns, about.st_ctime_ns]
