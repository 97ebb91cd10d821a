"""Rows through a network in pieces that fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

T = TypeVar("T")

log = logging.getLogger(__name__)


class Batches:
    """Cuts rows into pieces of at most `max_batch` and halves that number when memory runs out.

    What did not fit is done again in smaller pieces; the smaller number stays for later calls.

    Args:
        max_batch: Rows in a piece to begin with.

    Attributes:
        size: Rows in a piece now.

    Raises:
        ValueError: If `max_batch` is below 1.
    """

    def __init__(self, max_batch: int) -> None:
        if max_batch < 1:
            raise ValueError(f"explainer.max_batch must be 1 or more, got {max_batch}")
        self.size = max_batch

    def __call__(self, rows: int, work: Callable[[int, int], T]) -> Iterator[T]:
        """`work(start, stop)` for pieces that cover `range(rows)` in order.

        Raises:
            RuntimeError: As the allocator raised it, if a single row does not fit.
        """
        start = 0
        while start < rows:
            stop = min(start + self.size, rows)
            try:
                result = work(start, stop)
            except RuntimeError as error:
                if stop - start == 1 or not _out_of_memory(error):
                    raise
                self.size = (stop - start) // 2
                log.warning("out of memory; going on with max_batch=%d", self.size)
                continue  # outside of `except`, whose traceback would keep the memory alive
            yield result
            start = stop


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocator has failed: CUDA has a type of its own, CPU and MPS only a message."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    return "DefaultCPUAllocator" in str(error) or "out of memory" in str(error)
