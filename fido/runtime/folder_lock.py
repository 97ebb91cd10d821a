"""Which folders processes are at work in, known to the others for as long as they live."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """For the time of the block, keep a folder from being cleared by another process; see `alone`.

    Several processes may be at work in one folder. A folder that another one has removed just now
    is made again. Where there is none, or the file system has no locks, nothing is kept.
    """
    place = _opened(folder)
    try:
        while place is not None and _locked(place, fcntl.LOCK_SH) and not os.fstat(place).st_nlink:
            os.close(place)
            folder.mkdir(parents=True, exist_ok=True)
            place = _opened(folder)
        yield
    finally:
        if place is not None:
            os.close(place)


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether no process is at work in a folder; for the time of the block none begins.

    False also where the file system has no locks.
    """
    place = _opened(folder)
    try:
        yield place is not None and _locked(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        if place is not None:
            os.close(place)


def _opened(folder: Path) -> int | None:
    if sys.platform == "win32":
        return None  # no locks of this kind
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None


def _locked(place: int, kind: int) -> bool:
    try:
        fcntl.flock(place, kind)
    except OSError:
        return False
    return True
