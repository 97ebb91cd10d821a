"""Python's garbage collector, among many results."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heap_left_alone() -> Iterator[None]:
    """Have collections skip what there is, which is mostly imported modules.

    PyTorch and its companions are half a million objects that stay. A run that holds tens of
    thousands of results makes enough new ones to have all of them looked at again and again.
    What is made inside is collected as ever; afterwards everything is.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def no_collections() -> Iterator[None]:
    """Make many objects that refer to each other in no circle, and have none of them looked at."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
