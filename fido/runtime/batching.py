"""Rows through a network in pieces that fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

T = TypeVar("T")

log = logging.getLogger(__name__)


class Batches:
    """Cuts rows into pieces of at most `rows_per_pass` and halves that number when memory runs out.

    What did not fit is done again in smaller pieces; the smaller number stays for later calls.

    Args:
        rows_per_pass: Rows in a piece to begin with; None is what suits the device: 64, but 8 on
            a CPU, where a network is nearly twice as fast while its activations stay in the cache.
        device: Where the network is.

    Attributes:
        size: Rows in a piece now.

    Raises:
        ValueError: If `rows_per_pass` is below 1.
    """

    def __init__(self, rows_per_pass: int | None, device: torch.device) -> None:
        if rows_per_pass is None:
            rows_per_pass = 8 if device.type == "cpu" else 64
        if rows_per_pass < 1:
            raise ValueError(f"explainer.rows_per_pass must be 1 or more, got {rows_per_pass}")
        self.size = rows_per_pass

    def __call__(
        self, items: int, work: Callable[[int, int], T], rows_each: int = 1
    ) -> Iterator[T]:
        """`work(start, stop)` for pieces that cover `range(items)` in order.

        Args:
            items: What is cut into pieces, images or masks.
            work: Does one piece.
            rows_each: Rows of an item, which stay together even where they exceed `size`.

        Raises:
            RuntimeError: As the allocator raised it, if a single item does not fit.
        """
        start = 0
        while start < items:
            stop = min(start + max(1, self.size // rows_each), items)
            try:
                result = work(start, stop)
            except RuntimeError as error:
                if stop - start == 1 or not _out_of_memory(error):
                    raise
                self.size = (stop - start) // 2 * rows_each
                log.warning("out of memory; going on with rows_per_pass=%d", self.size)
                continue  # leaving `except` first: its traceback keeps the memory alive
            yield result
            start = stop


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocator has failed: CUDA has a type of its own, CPU and MPS only a message."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    return "DefaultCPUAllocator" in str(error) or "out of memory" in str(error)
