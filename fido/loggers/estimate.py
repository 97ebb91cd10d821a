"""How long a run will take, from its first steps."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST = 3
"""Steps after which it is said; the first one is slower than the others and not counted."""

WORTH = 10.0
"""Seconds below which nobody waits for a run, so that nothing is said."""


class Estimate:
    """Says once how long all images will take.

    Args:
        images: How many are left; 0 says nothing.
        clock: Gives the time in seconds.
    """

    def __init__(self, images: int = 0, clock: Callable[[], float] = time.perf_counter) -> None:
        self.images = images
        self.clock = clock
        self._first: float | None = None
        self._unit = 1
        self._said = not images

    def after_step(self, done: int, total: int, batch: int) -> str | None:
        """After `done` of `total` steps of a fit of `batch` images: a line, or None."""
        if self._said:
            return None
        now = self.clock()
        if self._first is None:
            # Of methods that report every few steps the first report is their unit.
            self._first, self._unit = now, done
            return None
        if done < FIRST * self._unit or total <= FIRST * self._unit:
            return None
        step = (now - self._first) / (done - self._unit)
        return self._say(step * total / batch, f"{_duration(step)} a step, {total} steps, ")

    def after_image(self, seconds: float) -> str | None:
        """After the first image, if steps have not told: a line, or None."""
        return None if self._said else self._say(seconds, "")

    def _say(self, each: float, steps: str) -> str | None:
        self._said = True
        whole = each * self.images
        if whole < WORTH:
            return None
        images = "1 image" if self.images == 1 else f"{self.images} images"
        return f"about {_duration(whole)} for {images} ({steps}{_duration(each)} an image)"


def _duration(seconds: float) -> str:
    """`0.12 s`, `45 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"
